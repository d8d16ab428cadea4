//! Every operator of `where`, against what PostgreSQL itself says of the same rows.

use std::collections::BTreeSet;

use event_source_tests::follow::served;
use event_source_tests::wait::LONG;
use serde_json::{Value, json};

use super::changes::{ChangeStream, Changes};

const SCHEMA: &str = r#"
CREATE TABLE thing (
    id int PRIMARY KEY, name text, n int, price numeric, big bigint, "when" timestamptz, ok bool,
    uid uuid, extra jsonb, touched int
);
INSERT INTO thing VALUES
    (0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (1, 'apple', 1, 1.50, 9007199254740993, '2020-01-02 03:04:05+00', true,
        '00000000-0000-0000-0000-000000000001', '{"city": "Bern", "size": 9, "list": ["a", "b"]}'),
    (2, 'Apple pie', 2, 10, 1, '2021-01-01', false, NULL, '{"city": "Basel", "size": 10, "list": []}'),
    (3, '50%', -3, -0.5, -1, '2019-01-01', true, NULL, '{"size": "10", "deep": {"er": null}}'),
    (4, 'a_b', 10, 1e20, 0, NULL, NULL, NULL, '{"city": "bern"}'),
    (5, '', 100, NULL, NULL, '2020-01-02 03:04:05.000001+00', true, NULL, '{}'),
    (6, E'two\nlines', NULL, 1.5, 3000000000, NULL, false, NULL, NULL),
    (7, '10', 10, 10, 10, 'infinity', true, NULL, '[]'),
    (8, 'ÄPFEL', 7, 7, 7, '-infinity', true, NULL, '"text"'),
    (9, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'null');
CREATE ROLE reader;
GRANT SELECT ON thing TO reader;
SELECT event_source.capture('thing');
"#;

fn cases() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "name": "apple" }), "name = 'apple'"),
        (json!({ "name": null }), "name IS NULL"),
        (json!({ "name": 10 }), "name = '10'"),
        (json!({ "n": 10 }), "n = 10"),
        (json!({ "n": "10" }), "n = 10"),
        (json!({ "n": 1.5 }), "n = 1.5"),
        (json!({ "price": 1.5 }), "price = 1.5"),
        (json!({ "big": 9_007_199_254_740_993_i64 }), "big = 9007199254740993"),
        (json!({ "n": 3_000_000_000_i64 }), "false"),
        (json!({ "ok": true }), "ok"),
        (json!({ "ok": "false" }), "NOT ok"),
        (json!({ "uid": "00000000-0000-0000-0000-000000000001" }), "uid IS NOT NULL"),
        (json!({ "when": "2020-01-02T03:04:05.000Z" }), "\"when\" = '2020-01-02 03:04:05+00'"),
        (json!({ "name": "apple", "n": 1 }), "name = 'apple' AND n = 1"),
        (json!({ "name": "apple", "n": 2 }), "name = 'apple' AND n = 2"),
        (json!({ "and": [{ "ok": true }, { "n": { "gt": 5 } }] }), "ok AND n > 5"),
        (json!({ "or": [{ "n": 1 }, { "n": 2 }] }), "n IN (1, 2)"),
        (json!({ "and": [] }), "true"),
        (json!({ "or": [] }), "false"),
        (json!({ "nor": [{ "n": 1 }, { "n": { "gt": 9 } }] }), "(n = 1 OR n > 9) IS NOT TRUE"),
        (
            json!({ "or": [{ "and": [{ "n": 1 }, { "ok": true }] }, { "nor": [{ "n": { "lt": 100 } }] }] }),
            "(n = 1 AND ok) OR (n < 100) IS NOT TRUE",
        ),
        (json!({ "n": { "gt": 2 } }), "n > 2"),
        (json!({ "n": { "gt": 1.5 } }), "n > 1.5"),
        (json!({ "n": { "gte": 2 } }), "n >= 2"),
        (json!({ "price": { "lt": 1.5 } }), "price < 1.5"),
        (json!({ "price": { "lte": "1.5" } }), "price <= 1.5"),
        (json!({ "n": { "gt": 1, "lt": 100 } }), "n > 1 AND n < 100"),
        (
            json!({ "when": { "gt": "2020-01-02T03:04:05Z" } }),
            "\"when\" > '2020-01-02 03:04:05+00'",
        ),
        (json!({ "name": { "gt": "b" } }), "name > 'b'"),
        (json!({ "n": { "between": [1, 10] } }), "n BETWEEN 1 AND 10"),
        (
            json!({ "when": { "between": ["2019-06-01", "2020-06-01"] } }),
            "\"when\" BETWEEN '2019-06-01' AND '2020-06-01'",
        ),
        (json!({ "n": { "inq": [1, 2, 1.5] } }), "n IN (1, 2)"),
        (json!({ "n": { "inq": [1, null] } }), "n = 1 OR n IS NULL"),
        (json!({ "n": { "inq": [] } }), "false"),
        (json!({ "name": { "nin": ["apple", "50%"] } }), "(name IN ('apple', '50%')) IS NOT TRUE"),
        (json!({ "name": { "nin": ["apple", null] } }), "name <> 'apple'"),
        (json!({ "name": { "neq": "apple" } }), "name IS DISTINCT FROM 'apple'"),
        (json!({ "name": { "neq": null } }), "name IS NOT NULL"),
        (json!({ "name": { "like": "%pp%" } }), "name LIKE '%pp%'"),
        (json!({ "name": { "like": "50\\%" } }), "name LIKE '50\\%'"),
        (json!({ "name": { "like": "a_b" } }), "name LIKE 'a_b'"),
        (json!({ "name": { "nlike": "%pp%" } }), "(name LIKE '%pp%') IS NOT TRUE"),
        (json!({ "name": { "ilike": "APPLE%" } }), "name ILIKE 'APPLE%'"),
        (json!({ "name": { "nilike": "APPLE%" } }), "(name ILIKE 'APPLE%') IS NOT TRUE"),
        (json!({ "name": { "regexp": "^[aA]p" } }), "name ~ '^[aA]p'"),
        (json!({ "name": { "regexp": "/^apple/i" } }), "name ~* '^apple'"),
        (json!({ "name": { "regexp": "/^lines$/m" } }), "name ~ '(?n)^lines$'"),
        (json!({ "name": { "regexp": "^lines$" } }), "name ~ '^lines$'"),
        (json!({ "extra.city": "Bern" }), "extra ->> 'city' = 'Bern'"),
        (json!({ "extra.size": 10 }), "extra ->> 'size' = '10'"),
        (json!({ "extra.size": { "gt": 9 } }), "extra -> 'size' > '9'"),
        (json!({ "extra.size": { "gte": "10" } }), "extra -> 'size' >= '\"10\"'"),
        (json!({ "extra.list.0": "a" }), "extra #>> '{list,0}' = 'a'"),
        (json!({ "extra.deep.er": null }), "extra #>> '{deep,er}' IS NULL"),
        (json!({ "extra.city": { "ilike": "bern" } }), "extra ->> 'city' ILIKE 'bern'"),
        (
            json!({ "extra.city": { "nin": ["Bern"] } }),
            "(extra ->> 'city' IN ('Bern')) IS NOT TRUE",
        ),
        (json!({ "extra.city": { "neq": "Bern" } }), "extra ->> 'city' IS DISTINCT FROM 'Bern'"),
    ]
}

#[test]
fn every_operator_means_what_postgresql_says() {
    const MARK: i64 = 1000;
    let (cluster, mut client) = served(SCHEMA);
    let row = client.query_one("SELECT event_source.create_secret('reader')", &[]);
    let secret: String = row.expect("there is such a role").get(0);
    let cases = cases();
    let mut streams: Vec<ChangeStream> = cases
        .iter()
        .map(|(condition, _)| {
            // The mark says that nothing more of the rows comes.
            let condition = json!({ "or": [condition, { "id": MARK }] });
            let asked = Changes::of("things").by(&secret).with(json!({ "where": condition }));
            ChangeStream::open(cluster.http(), &asked)
                .unwrap_or_else(|error| panic!("{condition}: {error}"))
        })
        .collect();
    client.batch_execute("UPDATE thing SET touched = 1").expect("it is updated");
    client.batch_execute(&format!("INSERT INTO thing (id) VALUES ({MARK})")).expect("a row");
    for ((condition, sql), stream) in cases.iter().zip(&mut streams) {
        let rows =
            client.query(&format!("SELECT id FROM thing WHERE ({sql}) AND id < {MARK}"), &[]);
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let expected: BTreeSet<i64> = rows.iter().map(|row| row.get::<_, i32>(0).into()).collect();
        let mut told = BTreeSet::new();
        loop {
            let id = stream.change(LONG).target.as_i64().expect("a number");
            if id == MARK {
                break;
            }
            assert!(told.insert(id), "{condition}: {id} is told twice");
        }
        assert_eq!(told, expected, "{condition} is not {sql}");
    }
}
