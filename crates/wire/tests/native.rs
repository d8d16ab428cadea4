//! The native wire, byte for byte.

mod support;

use event_source_model::cost::Cost;
use event_source_model::event::{EventType, Page, Reason, Refusal};
use event_source_model::image::Key;
use event_source_model::position::Position;
use event_source_model::value::Value;
use event_source_wire::native::{self, Numbers, Options};
use support::{event, image, view};

fn shown(event: &event_source_model::event::Event, options: Options) -> String {
    let mut out = String::new();
    native::event(&mut out, &view(None), event.into(), options);
    out
}

#[test]
fn an_event_has_type_time_cursor_key_and_data() {
    let added =
        event(EventType::Add, None, Some(image(&[("id", Value::Int(1)), ("n", Value::Null)])));
    let cursor = view(None).cursor(&added.position);
    assert_eq!(
        shown(&added, Options::default()),
        format!(
            r#"{{"type":"add","txn_ts":1000,"cursor":"{cursor}","key":1,"data":{{"id":1,"n":null}}}}"#
        )
    );
}

#[test]
fn a_remove_carries_the_last_row() {
    let removed = event(EventType::Remove, Some(image(&[("id", Value::Int(1))])), None);
    assert!(shown(&removed, Options::default()).ends_with(r#""key":1,"data":{"id":1}}"#));
}

#[test]
fn prev_and_diff_show_what_an_update_changed() {
    let updated = event(
        EventType::Update,
        Some(image(&[("id", Value::Int(1)), ("price", Value::Int(2))])),
        Some(image(&[("id", Value::Int(1)), ("price", Value::Int(3))])),
    );
    let options = Options { prev: true, diff: true, ..Options::default() };
    let text = shown(&updated, options);
    assert!(
        text.ends_with(
            r#""data":{"id":1,"price":3},"prev":{"id":1,"price":2},"diff":{"price":3}}"#
        ),
        "{text}"
    );
}

#[test]
fn a_row_that_comes_into_the_set_does_not_show_what_it_was_outside() {
    let entered = event(
        EventType::Add,
        Some(image(&[("id", Value::Int(1)), ("owner", Value::Int(2))])),
        Some(image(&[("id", Value::Int(1)), ("owner", Value::Int(3))])),
    );
    let options = Options { prev: true, diff: true, ..Options::default() };
    assert!(shown(&entered, options).ends_with(r#""prev":null,"diff":null}"#));
}

#[test]
fn every_kind_of_value_has_its_form() {
    let cases = [
        (Value::BigInt(9_007_199_254_740_993), "9007199254740993"),
        (Value::Numeric("1.50".to_owned()), "1.50"),
        (Value::Numeric("NaN".to_owned()), "\"NaN\""),
        (Value::Float8(f64::INFINITY), "\"Infinity\""),
        (Value::Float4(0.1), "0.1"),
        (Value::Bytes(b"hello".to_vec()), "\"aGVsbG8=\""),
        (Value::Timestamptz(0), "\"2000-01-01T00:00:00Z\""),
        (Value::Timestamp(i64::MAX), "\"infinity\""),
        (Value::Json("{ \"a\":\n1 }".to_owned()), "{ \"a\": 1 }"),
        (Value::Array(vec![Value::Int(1), Value::Null]), "[1,null]"),
        (Value::Object(vec![("x".to_owned(), Value::Bool(true))]), "{\"x\":true}"),
    ];
    for (value, expected) in cases {
        let row = image(&[("v", value)]);
        let text = native::data_json(&view(None), &row, Numbers::Digits);
        assert_eq!(text, format!("{{\"v\":{expected}}}"));
    }
}

#[test]
fn numbers_as_strings_are_only_those_a_double_could_lose() {
    let row = image(&[
        ("i", Value::Int(1)),
        ("b", Value::BigInt(2)),
        ("n", Value::Numeric("3.0".to_owned())),
        ("f", Value::Float8(4.5)),
    ]);
    assert_eq!(
        native::data_json(&view(None), &row, Numbers::Text),
        r#"{"i":1,"b":"2","n":"3.0","f":4.5}"#
    );
}

#[test]
fn a_key_of_several_columns_is_an_array() {
    let key = Key(vec![Value::Int(1), Value::Text("a".to_owned())]);
    assert_eq!(native::key_json(&key), r#"[1,"a"]"#);
}

#[test]
fn only_the_chosen_fields_are_shown() {
    let row = image(&[("id", Value::Int(1)), ("secret", Value::Int(2)), ("name", Value::Int(3))]);
    let text = native::data_json(&view(Some(vec![1, 3])), &row, Numbers::Digits);
    assert_eq!(text, r#"{"id":1,"name":3}"#);
}

#[test]
fn a_page_ends_with_the_error_that_ended_it() {
    let page = Page {
        view: view(None),
        events: vec![event(EventType::Add, None, Some(image(&[("id", Value::Int(1))])))].into(),
        position: Position::at(1000, 0),
        ends_snapshot: false,
        has_next: false,
        is_cut: false,
        error: Some(Refusal::new(Reason::EvaluationFailed, "division by zero")),
        cost: Cost::default(),
    };
    let read: serde_json::Value =
        serde_json::from_str(&native::page(&page, Options::default()).expect("undamaged"))
            .expect("valid");
    assert_eq!(read["events"][0]["type"], "add");
    assert_eq!(read["events"][1]["error"]["message"], "division by zero");
    assert_eq!(read["has_next"], false);
    assert_eq!(read["cursor"], view(None).cursor(&page.position));
}
