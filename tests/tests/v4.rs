//! The drivers of Fauna v4, unmodified, against a real cluster: npm `faunadb` over HTTP/2 and over
//! HTTP/1.1, PyPI `faunadb`.
//!
//! Their programs are in `tests/clients`; `make setup` installs the drivers. What a test expects here is
//! what a user's program gets to see: decoded values and the driver's own error classes.

pub(crate) mod driver;
pub(crate) mod game;

use driver::{DRIVERS, Driver};
use game::{Game, reference};
use serde_json::{Value, json};

/// The fields that both drivers let their users ask for.
const FIELDS: [&str; 4] = ["action", "document", "diff", "prev"];

#[test]
fn the_seeds_examples_run_as_printed_there() {
    let game = Game::open();
    document_of_the_seed(&game);
    set_of_the_seed(&game);
}

fn document_of_the_seed(game: &Game) {
    for driver in DRIVERS {
        game.run(&["TRUNCATE scores, spells", "INSERT INTO scores VALUES (1, '{1,11,17}')"]);
        let program = driver.stream(&game.cluster, &game.secret, &Game::score("1"), &FIELDS, 1);
        game.run(&["UPDATE scores SET foo = 'bar', final = true WHERE id = 1"]);
        let mut events = program.events("version", 1);
        let event = &mut events[0];
        let txn = event["txn"].as_i64().expect("a number");
        let prev = event["event"]["object"]["prev"]["object"]["ts"].take();
        assert!(prev.as_i64().is_some_and(|prev| prev < txn), "{prev} of {txn}");
        let scores = json!([1, 11, 17]);
        let expected = json!({ "object": {
            "action": "update",
            "document": { "object": {
                "ref": reference("Scores", "1"), "ts": txn,
                "data": { "object": { "scores": scores, "foo": "bar", "final": true } },
            } },
            "diff": { "object": {
                "ref": reference("Scores", "1"), "ts": txn,
                "data": { "object": { "foo": "bar", "final": true } },
            } },
            "prev": { "object": {
                "ref": reference("Scores", "1"), "ts": null, "data": { "object": { "scores": scores } },
            } },
        } });
        assert_eq!(event["event"], expected, "{driver:?}");
    }
}

fn set_of_the_seed(game: &Game) {
    let set = json!({ "documents": "Scores" });
    let fields = ["action", "document", "index"];
    let program = Driver::Node.stream(&game.cluster, &game.secret, &set, &fields, 1);
    game.run(&["INSERT INTO scores VALUES (325567069374382153)"]);
    let event = &program.events("set", 1)[0];
    assert_eq!(
        event["event"],
        json!({ "object": {
            "action": "add",
            "document": { "object": {
                "ref": reference("Scores", "325567069374382153"), "ts": event["txn"],
            } },
            "index": { "object": { "terms": [{ "ref": ["Scores"] }], "values": [] } },
        } })
    );
}

#[test]
fn a_document_that_need_not_exist_is_followed_through_its_life() {
    let game = Game::open();
    before_and_after(&game);
    for driver in DRIVERS {
        game.run(&["TRUNCATE scores, spells"]);
        let program = driver.stream(&game.cluster, &game.secret, &Game::score(7), &[], 5);
        game.run(&[
            "INSERT INTO scores (id, foo) VALUES (7, 'a'), (8, 'not ours')",
            "UPDATE scores SET foo = 'b'",
            // A write is one, whatever it changes.
            "UPDATE scores SET foo = foo",
            "DELETE FROM scores",
            "BEGIN; INSERT INTO scores VALUES (7); ROLLBACK",
            "INSERT INTO scores (id, foo) VALUES (7, 'again')",
        ]);
        let events = program.events("version", 5);
        let brief: Vec<(Value, Value)> = events
            .iter()
            .map(|event| {
                let fields = &event["event"]["object"];
                let names: Vec<&String> = fields.as_object().expect("an object").keys().collect();
                assert_eq!(names, ["action", "document"], "{driver:?}");
                let document = &fields["document"]["object"];
                assert_eq!(document["ref"], reference("Scores", "7"));
                (fields["action"].clone(), document["data"]["object"]["foo"].clone())
            })
            .collect();
        let expected = [
            ("create", "a"),
            ("update", "b"),
            ("update", "b"),
            ("delete", "b"),
            ("create", "again"),
        ];
        let expected: Vec<_> = expected.map(|(a, foo)| (json!(a), json!(foo))).into();
        assert_eq!(brief, expected, "{driver:?}");
        let txns: Vec<i64> = events.iter().filter_map(|event| event["txn"].as_i64()).collect();
        assert!(txns.is_sorted_by(|a, b| a < b), "{txns:?}");
    }
}

/// What an event says of before is empty where there was nothing.
fn before_and_after(game: &Game) {
    for driver in DRIVERS {
        game.run(&["TRUNCATE scores, spells"]);
        let program = driver.stream(&game.cluster, &game.secret, &Game::score(1), &FIELDS, 2);
        game.run(&["INSERT INTO scores (id, foo) VALUES (1, 'a')", "DELETE FROM scores"]);
        let events = program.events("version", 2);
        let data = |event: &Value, field: &str| {
            event["event"]["object"][field]["object"]["data"]["object"]["foo"].clone()
        };
        let of = |at: usize| FIELDS[1..].iter().map(|f| data(&events[at], f)).collect::<Vec<_>>();
        assert_eq!(of(0), [json!("a"), json!("a"), Value::Null], "created, {driver:?}");
        assert_eq!(of(1), [json!("a"), Value::Null, json!("a")], "deleted, {driver:?}");
    }
}

/// What a set stream tells with its `index` field: action, id, values.
fn follow_set(game: &Game, set: &Value, statements: &[&str], count: usize) -> Vec<Value> {
    let fields = ["action", "document", "index"];
    let program = Driver::Node.stream(&game.cluster, &game.secret, set, &fields, count);
    game.run(statements);
    let events = program.events("set", count);
    let told = events.iter().map(|event| {
        let fields = &event["event"]["object"];
        let index = &fields["index"]["object"];
        let id = &fields["document"]["object"]["ref"]["ref"][1];
        json!([fields["action"], id, index["terms"], index["values"]])
    });
    told.collect()
}

#[test]
fn a_set_of_an_index_tells_what_comes_what_goes_and_other_values() {
    let game = Game::open();
    game.run(&["INSERT INTO spells (id, name, element, power) VALUES (9, 'Tide', 'water', 1)"]);
    let fire = json!({ "match": ["spells_by_element", "fire"] });
    let told = follow_set(
        &game,
        &fire,
        &[
            "INSERT INTO spells (id, name, element, power) VALUES (1, 'Fire Beak', 'fire', 1.5)",
            "INSERT INTO spells (id, name, element) VALUES (2, 'not ours', 'water')",
            "UPDATE spells SET notes = 'not covered'",
            "UPDATE spells SET power = 2 WHERE id = 1",
            "UPDATE spells SET element = 'water' WHERE id = 1",
            "UPDATE spells SET element = 'fire' WHERE id = 9",
            "DELETE FROM spells",
        ],
        6,
    );
    let terms = json!(["fire"]);
    assert_eq!(
        told,
        [
            json!(["add", "1", terms, ["Fire Beak", 1.5]]),
            json!(["remove", "1", terms, ["Fire Beak", 1.5]]),
            json!(["add", "1", terms, ["Fire Beak", 2]]),
            json!(["remove", "1", terms, ["Fire Beak", 2]]),
            json!(["add", "9", terms, ["Tide", 1]]),
            json!(["remove", "9", terms, ["Tide", 1]]),
        ]
    );
    // Without terms it is every row of the index, and all of its columns are values.
    let all = json!({ "match": ["elements_of_spells"] });
    let told = follow_set(
        &game,
        &all,
        &[
            "INSERT INTO spells (id, element) VALUES (1, 'fire')",
            "UPDATE spells SET element = 'ice'",
            "DELETE FROM spells",
        ],
        4,
    );
    assert_eq!(
        told,
        [
            json!(["add", "1", [], ["fire"]]),
            json!(["remove", "1", [], ["fire"]]),
            json!(["add", "1", [], ["ice"]]),
            json!(["remove", "1", [], ["ice"]]),
        ]
    );
}

#[test]
fn sets_are_told_in_both_drivers_also_of_terms_of_every_kind() {
    let game = Game::open();
    documents(&game);
    terms_of_every_kind(&game);
}

fn terms_of_every_kind(game: &Game) {
    game.run(&["INSERT INTO scores VALUES (7)"]);
    let time = "2022-01-01T00:00:00Z";
    let terms = [
        json!({ "date": "2020-01-01" }),
        json!({ "time": time }),
        json!({ "bytes": "/+8=" }),
        Game::score("7"),
        json!(null),
    ];
    let set =
        json!({ "match": ["spells_by_kind", terms[0], terms[1], terms[2], terms[3], terms[4]] });
    for driver in DRIVERS {
        game.run(&["TRUNCATE spells"]);
        let program = driver.stream(&game.cluster, &game.secret, &set, &[], 1);
        game.run(&[
            "INSERT INTO spells (id, learnt, cast_at, sigil) VALUES (1, '2020-01-01', '2022-01-01Z', '\\xffef')",
            "INSERT INTO spells (id, learnt, cast_at, sigil, mage)
             VALUES (2, '2020-01-01', '2022-01-01 00:00Z', '\\xffef', 7)",
        ]);
        let event = &program.events("set", 1)[0];
        let document = &event["event"]["object"]["document"]["object"];
        assert_eq!(document["ref"], reference("spells", "2"), "{driver:?}");
    }
}

fn documents(game: &Game) {
    for driver in DRIVERS {
        game.run(&["TRUNCATE scores, spells"]);
        let set = json!({ "documents": "Scores" });
        let program = driver.stream(&game.cluster, &game.secret, &set, &[], 3);
        game.run(&[
            "INSERT INTO scores VALUES (1), (2)",
            "UPDATE scores SET foo = 'nothing is told of that'",
            "DELETE FROM scores WHERE id = 2",
        ]);
        let events = program.events("set", 3);
        let brief: Vec<Value> = events
            .iter()
            .map(|event| {
                let fields = &event["event"]["object"];
                let document = &fields["document"]["object"];
                assert_eq!(document["ts"], event["txn"]);
                json!([fields["action"], document["ref"]["ref"][1]])
            })
            .collect();
        let expected = [json!(["add", "1"]), json!(["add", "2"]), json!(["remove", "2"])];
        assert_eq!(brief, expected, "{driver:?}");
    }
}

#[test]
fn values_arrive_as_the_drivers_own_classes() {
    let game = Game::open();
    for driver in DRIVERS {
        game.run(&["TRUNCATE things"]);
        let thing = json!({ "ref": ["things", 1] });
        let program = driver.stream(&game.cluster, &game.secret, &thing, &[], 1);
        game.run(&[r#"INSERT INTO things VALUES (1, -2147483648, E'a\u2028\u0085 ü😀', 9007199254740991,
            1.5, 12.25, '2024-03-14', '2024-03-14 22:50:55.93+00', 'hello', '{a,"b c"}',
            '{"@odd": 1, "deep": [true, null, {"@ref": "x"}]}', 'abababab-abab-abab-abab-abababababab')"#]);
        let event = &program.events("version", 1)[0];
        let uuid = json!("abababab-abab-abab-abab-abababababab");
        let expected = json!({ "object": {
            "n": -2147483648_i64, "text": "a\u{2028}\u{85} ü😀", "big": 9007199254740991_i64,
            "ratio": 1.5, "cost": 12.25, "made": { "date": "2024-03-14" },
            "seen": { "time": "2024-03-14T22:50:55.930Z" }, "picture": { "bytes": "aGVsbG8=" },
            "tags": ["a", "b c"],
            // What the drivers would fail on is text.
            "extra": { "object": { "@odd": 1, "deep": [true, null, "{\"@ref\": \"x\"}"] } },
            "code": { "object": { "@uuid": uuid } },
        } });
        let data = &event["event"]["object"]["document"]["object"]["data"];
        assert_eq!(*data, expected, "{driver:?}");
    }
}

#[test]
fn an_erased_past_is_a_history_rewrite() {
    let game = Game::open();
    for driver in DRIVERS {
        game.run(&["TRUNCATE scores, spells", "INSERT INTO scores (id, foo) VALUES (1, 'secret')"]);
        let program = driver.stream(&game.cluster, &game.secret, &Game::score(1), &FIELDS, 1);
        game.run(&["SELECT event_source.redact('scores', '1')"]);
        let event = &program.events("history_rewrite", 1)[0];
        let document = json!({ "ref": reference("Scores", "1"), "ts": event["txn"] });
        let expected =
            json!({ "object": { "action": "update", "document": { "object": document } } });
        assert_eq!(event["event"], expected, "{driver:?}");
    }
}

#[test]
fn what_a_server_refuses_is_the_drivers_own_error() {
    let game = Game::open();
    let cluster = &game.cluster;
    let raw = |json: Value| json!({ "raw": json });
    let get = |of: Value| json!({ "mode": "query", "expr": { "get": of } });
    let stream = |of: Value| json!({ "mode": "stream", "expr": of });
    let good = game.secret.as_str();
    let undefined = "Ref refers to undefined";
    let denied = "Insufficient privileges to perform the action.";
    let cases = [
        ("nobody", stream(Game::score(1)), "Unauthorized", 401, "unauthorized", "Unauthorized"),
        ("nobody", get(Game::score(1)), "Unauthorized", 401, "unauthorized", "Unauthorized"),
        (
            good,
            stream(json!({ "ref": ["hidden", 1] })),
            "PermissionDenied",
            403,
            "permission denied",
            denied,
        ),
        (
            good,
            get(json!({ "ref": ["hidden", 1] })),
            "PermissionDenied",
            403,
            "permission denied",
            denied,
        ),
        (good, get(Game::score(404)), "NotFound", 404, "instance not found", "Document not found."),
        (good, get(Game::score("x")), "NotFound", 404, "instance not found", "Document not found."),
        (
            good,
            stream(json!({ "get": Game::score(404) })),
            "NotFound",
            404,
            "instance not found",
            "Document not found.",
        ),
        (
            good,
            stream(json!({ "ref": ["nothing", 1] })),
            "BadRequest",
            400,
            "invalid ref",
            &format!("{undefined} collection 'nothing'"),
        ),
        (
            good,
            stream(json!({ "match": ["nothing", 1] })),
            "BadRequest",
            400,
            "invalid ref",
            &format!("{undefined} index 'nothing'"),
        ),
        (
            good,
            stream(raw(json!({ "object": { "a": 1 } }))),
            "BadRequest",
            400,
            "invalid argument",
            "Expected a Document Ref or Version, or a Set Ref, got Object.",
        ),
        (
            good,
            stream(raw(json!({ "create": { "collection": "Scores" }, "params": {} }))),
            "BadRequest",
            400,
            "invalid expression",
            "Call performs a write, which is not allowed in stream requests.",
        ),
        (
            good,
            stream(raw(json!({ "a": 1 }))),
            "BadRequest",
            400,
            "invalid expression",
            "No form/function found, or invalid argument keys: { a }.",
        ),
    ];
    let asked = cases.iter().map(|(secret, config, ..)| {
        let mut config = config.clone();
        config["secret"] = json!(secret);
        config
    });
    let config = json!({ "mode": "refused", "cases": asked.collect::<Vec<_>>() });
    for driver in DRIVERS {
        let program = driver.start(cluster, good, &config);
        for (_, config, class, status, code, description) in &cases {
            let is_stream = config["mode"] == "stream";
            let error = program.error();
            assert_eq!(error["drivers_own"], true, "{driver:?} {config}: {error}");
            if driver == Driver::Python {
                // Its streams know no other class.
                let class = if is_stream { "BadRequest" } else { class };
                assert_eq!((&error["class"], &error["code"]), (&json!(class), &json!(code)));
            } else {
                assert_eq!((&error["class"], &error["status"]), (&json!(class), &json!(status)));
                // The driver adds advice to some.
                let message = error["message"].as_str().unwrap_or_default();
                assert!(message.starts_with(code), "{driver:?} {config}: {error}");
            }
            let found = error["description"].as_str().unwrap_or_default();
            assert!(found.starts_with(description), "{driver:?} {config}: {error}");
        }
    }
    for driver in DRIVERS {
        let program = driver.start(cluster, good, &json!({ "mode": "ping" }));
        assert_eq!(program.says("answer"), "Scope node is OK", "{driver:?}");
    }
}
