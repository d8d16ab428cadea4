//! Filters, as the SQL that PostgreSQL gets.

use event_source_filter::Filter;
use serde_json::{Value, json};

use super::*;

fn written(filter: Value) -> (String, Vec<String>) {
    let test = read(filter, &mut Names::default()).unwrap().unwrap();
    let filter = Filter::of(&test, |name| Ok(name.text.clone())).unwrap();
    (filter.text, filter.values.into_iter().map(Option::unwrap).collect())
}

fn sql(filter: Value) -> String {
    written(filter).0
}

fn refused(filter: Value) -> String {
    let problem = read(filter, &mut Names::default()).unwrap_err();
    assert_eq!(problem.code, "INVALID_QUERY");
    problem.message
}

#[test]
fn comparisons_are_those_of_sql() {
    for (operator, expected) in [
        ("_eq", r#"("n" = $1)"#),
        ("_lt", r#"("n" < $1)"#),
        ("_lte", r#"("n" <= $1)"#),
        ("_gt", r#"("n" > $1)"#),
        ("_gte", r#"("n" >= $1)"#),
    ] {
        assert_eq!(sql(json!({ "n": { operator: 5 } })), expected);
    }
    let both = r#"(("n" >= $1) and ("n" <= $2))"#;
    assert_eq!(sql(json!({ "n": { "_between": [1, 2] } })), both);
    assert_eq!(sql(json!({ "n": { "_between": "1,2" } })), both);
    assert_eq!(sql(json!({ "n": { "_nbetween": [1, 2] } })), r#"(("n" < $1) or ("n" > $2))"#);
    assert_eq!(sql(json!({ "n": { "_in": [1, "2"] } })), r#"("n" in ($1, $2))"#);
    assert_eq!(sql(json!({ "n": { "_in": "1,2" } })), r#"("n" in ($1, $2))"#);
    assert_eq!(sql(json!({ "n": { "_in": [] } })), "false");
}

#[test]
fn a_negation_leaves_null_out_as_directus_does() {
    assert_eq!(
        sql(json!({ "n": { "_neq": 5 } })),
        r#"(("n" is not null) and (("n" = $1) is not true))"#
    );
    assert_eq!(
        sql(json!({ "n": { "_nin": [5] } })),
        r#"(("n" is not null) and (not (("n" in ($1)) is true)))"#
    );
    assert!(
        sql(json!({ "t": { "_ncontains": "x" } })).starts_with(r#"(("t" is not null) and (not "#)
    );
}

#[test]
fn null_and_empty_are_asked_for_with_and_without_a_flag() {
    for (filter, expected) in [
        (json!({ "t": { "_null": true } }), r#"("t" is null)"#),
        (json!({ "t": { "_null": false } }), r#"("t" is not null)"#),
        (json!({ "t": { "_nnull": true } }), r#"("t" is not null)"#),
        (json!({ "t": { "_nnull": "false" } }), r#"("t" is null)"#),
        (json!({ "t": { "_eq": null } }), r#"("t" is null)"#),
        (json!({ "t": { "_neq": null } }), r#"("t" is not null)"#),
    ] {
        assert_eq!(sql(filter), expected);
    }
    let (empty, values) = written(json!({ "t": { "_empty": true } }));
    assert_eq!((empty.as_str(), values), (r#"(("t" is null) or ("t" = $1))"#, vec![String::new()]));
    let not_empty = r#"(("t" is not null) and (("t" = $1) is not true))"#;
    assert_eq!(sql(json!({ "t": { "_nempty": true } })), not_empty);
    assert_eq!(sql(json!({ "t": { "_empty": false } })), not_empty);
}

#[test]
fn each_search_is_known() {
    let names = ["contains", "starts_with", "ends_with"];
    for name in names {
        for prefix in ["", "i", "n", "ni"] {
            let text = sql(json!({ "t": { format!("_{prefix}{name}"): "x" } }));
            assert_eq!(text.contains("pg_catalog.lower"), prefix.contains('i'), "{prefix}{name}");
            assert_eq!(text.contains("(not "), prefix.contains('n'), "{prefix}{name}");
        }
    }
    let regex = r#"("t" operator(pg_catalog.~) $1::pg_catalog.text)"#;
    assert_eq!(sql(json!({ "t": { "_regex": "^a" } })), regex);
    assert!(sql(json!({ "t": { "_ieq": "A" } })).contains(" = pg_catalog.lower("));
}

#[test]
fn filters_are_combined_and_a_bare_value_is_equal() {
    let filter = json!({ "_or": [{ "a": 1 }, { "b": { "_gt": 2, "_lt": 9 } }], "c": true });
    let (text, values) = written(filter.clone());
    assert_eq!(text, r#"((("a" = $1) or (("b" > $2) and ("b" < $3))) and ("c" = $4))"#);
    assert_eq!(values, ["1", "2", "9", "true"]);
    assert_eq!(sql(json!(filter.to_string())), text, "as a text");
    assert!(read(json!({}), &mut Names::default()).unwrap().is_none());
    assert!(read(json!({ "_and": [] }), &mut Names::default()).unwrap().is_none());
}

#[test]
fn what_is_no_filter_is_refused_in_directus_words() {
    assert_eq!(refused(json!("{")), "Invalid query. Invalid JSON for filter object.");
    assert_eq!(refused(json!([1])), "Invalid query. Invalid JSON for filter object.");
    for (filter, part) in [
        (json!({ "a": { "_like": 1 } }), "\"_like\""),
        (json!({ "a": { "_eq": [1] } }), "\"_eq\""),
        (json!({ "a": { "_in": 1 } }), "\"_in\""),
        (json!({ "a": { "_between": [1] } }), "two values"),
        (json!({ "a": { "_null": 7 } }), "boolean"),
        (json!({ "_and": {} }), "array of filters"),
        (json!({ "_eq": 1 }), "within a field"),
        (json!({ "author": { "name": { "_eq": 1 } } }), "related"),
        (json!({ "a": { "_some": {} } }), "related"),
        (json!({ "year(a)": { "_eq": 1 } }), "functions"),
        (json!({ "a": { "_eq": "$CURRENT_USER" } }), "$CURRENT_USER"),
    ] {
        let message = refused(filter);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_filter_is_neither_deep_nor_long() {
    let mut deep = json!({ "a": 1 });
    for _ in 0..=DEEPEST {
        deep = json!({ "_and": [deep] });
    }
    assert!(refused(deep).contains("deeper"));
    let empty = vec![json!({}); MOST_TESTS + 1];
    assert!(refused(json!({ "_and": empty })).contains("more than"));
    let many: Vec<Value> = (0..=MOST_TESTS).map(|n| json!({ "a": n })).collect();
    assert!(refused(json!({ "_or": many })).contains("conditions"));
    let many: Vec<Value> = (0..=MOST_VALUES).map(|n| json!(n)).collect();
    assert!(refused(json!({ "a": { "_in": many } })).contains("values"));
}
