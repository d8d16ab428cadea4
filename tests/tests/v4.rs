//! The drivers of Fauna v4, unmodified, against a real cluster: npm `faunadb` over HTTP/2 and over
//! HTTP/1.1, PyPI `faunadb`.
//!
//! Their programs are in `tests/clients`; `make setup` installs the drivers. What a test expects here is
//! what a user's program gets to see: decoded values and the driver's own error classes.

#[path = "v4/driver.rs"]
mod driver;
#[path = "v4/game.rs"]
mod game;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use driver::{DRIVERS, Driver};
use event_source_tests::consume::Kind;
use event_source_tests::consume::v4::V4Stream;
use event_source_tests::{SetAtEnd, wait_until};
use game::{Game, reference};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(30);

/// The fields that both drivers let their users ask for.
const FIELDS: [&str; 4] = ["action", "document", "diff", "prev"];

#[test]
fn the_seeds_document_changes_as_printed_there() {
    let game = Game::open();
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

#[test]
fn the_seeds_set_grows_as_printed_there() {
    let game = Game::open();
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

#[test]
fn what_an_event_says_of_before_is_empty_where_there_was_nothing() {
    let game = Game::open();
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
    let game = &game;
    game.run(&["INSERT INTO spells (id, name, element, power) VALUES (9, 'Tide', 'water', 1)"]);
    let fire = json!({ "match": ["spells_by_element", "fire"] });
    let told = follow_set(
        game,
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
        game,
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
fn terms_of_every_kind_name_a_set_in_both_drivers() {
    let game = Game::open();
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

#[test]
fn the_documents_of_a_collection_come_and_go_in_both_drivers() {
    let game = Game::open();
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
    for (secret, config, class, status, code, description) in cases {
        for driver in DRIVERS {
            let is_stream = config["mode"] == "stream";
            let error = driver.start(cluster, secret, &config).error();
            assert_eq!(error["drivers_own"], true, "{driver:?} {config}: {error}");
            if driver == Driver::Python {
                // Its streams know no other class.
                let class = if is_stream { "BadRequest" } else { class };
                assert_eq!((&error["class"], &error["code"]), (&class.into(), &code.into()));
            } else {
                assert_eq!((&error["class"], &error["status"]), (&class.into(), &status.into()));
                // The driver adds advice to some.
                let message = error["message"].as_str().unwrap_or_default();
                assert!(message.starts_with(code), "{driver:?} {config}: {error}");
            }
            assert_eq!(error["description"], description, "{driver:?} {config}");
        }
    }
    for driver in DRIVERS {
        let program = driver.start(cluster, good, &json!({ "mode": "ping" }));
        assert_eq!(program.says("answer"), "Scope node is OK", "{driver:?}");
    }
}

#[test]
fn a_document_comes_with_everything_that_happens_to_it_afterwards() {
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) VALUES (1, 5)"]);
    let expr = json!({ "ref": ["things", 1] });
    for driver in [Driver::Node, Driver::NodeFetch] {
        game.run(&["UPDATE things SET n = 5"]);
        let config = json!({ "mode": "document", "expr": expr, "count": 2 });
        let program = driver.start(&game.cluster, &game.secret, &config).opened();
        let snapshot = program.says("snapshot");
        assert_eq!(snapshot["object"]["ref"], reference("things", "1"));
        assert_eq!(snapshot["object"]["data"], json!({ "object": { "n": 5 } }));
        let ts = snapshot["object"]["ts"].as_i64();
        game.run(&[
            "UPDATE things SET n = 6",
            "DELETE FROM things",
            "INSERT INTO things (id, n) VALUES (1, 5)",
        ]);
        for event in program.events("version", 2) {
            assert!(event["txn"].as_i64() > ts, "{event} behind {ts:?}");
        }
    }
    // Of a document that is not there: the driver says so, and the stream goes on.
    let config = json!({ "mode": "document", "expr": { "ref": ["things", 404] } });
    let program = Driver::Node.start(&game.cluster, &game.secret, &config).opened();
    assert_eq!(program.error()["class"], "NotFound");
}

#[test]
fn a_document_misses_and_repeats_nothing_while_many_write() {
    const LAST: i64 = 1500;
    const STREAMS: usize = 40;
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) VALUES (1, 0), (2, 0), (3, 0), (4, 0)"]);
    let config = json!({
        "mode": "counters", "expr": { "ref": ["things", 1] }, "last": LAST, "streams": STREAMS,
    });
    let over = AtomicBool::new(false);
    let counted = thread::scope(|scope| {
        let _over = SetAtEnd(&over);
        // Others commit beside them, so that what is committed is not told at once.
        for id in 2..=4 {
            let (game, over) = (&game, &over);
            scope.spawn(move || {
                let mut client = game.cluster.connect();
                while !over.load(Ordering::SeqCst) {
                    let sql = "UPDATE things SET n = n + 1 WHERE id = $1";
                    client.execute(sql, &[&id]).expect("it can be written");
                }
            });
        }
        let program = Driver::Node.start(&game.cluster, &game.secret, &config);
        scope.spawn(|| {
            let mut client = game.cluster.connect();
            for _ in 0..LAST {
                let sql = "UPDATE things SET n = n + 1 WHERE id = 1";
                client.execute(sql, &[]).expect("it can be written");
            }
        });
        let counted: Vec<Value> = (0..STREAMS).map(|_| program.says("counted")).collect();
        over.store(true, Ordering::SeqCst);
        counted
    });
    let mut began: Vec<i64> = Vec::new();
    for counted in counted {
        let counted: Vec<i64> =
            counted.as_array().expect("a list").iter().filter_map(Value::as_i64).collect();
        began.push(counted[0]);
        let expected: Vec<i64> = (counted[0]..=LAST).collect();
        assert_eq!(counted, expected, "missed or repeated");
    }
    began.dedup();
    // Else nobody wrote while they began.
    assert!(began.len() > STREAMS / 4, "{began:?}");
}

#[test]
fn a_document_waits_for_what_it_shows_to_be_told() {
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) VALUES (1, 0), (2, 0)"]);
    // Whoever commits now is not told until somebody lets go: it waits for a standby that is not there.
    game.run(&["ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"]);
    let held = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let mut client = game.cluster.connect();
            wait_until("the setting", LONG, || {
                let sql = "SELECT current_setting('synchronous_standby_names')";
                client.query_one(sql, &[]).expect("a setting").get::<_, &str>(0) == "nobody"
            });
            client.batch_execute("UPDATE things SET n = 1 WHERE id = 2")
        });
        let mut client = game.cluster.connect();
        let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        wait_until("somebody to wait", LONG, || {
            client.query(waiting, &[]).expect("a list").len() == 1
        });
        let local = "SET synchronous_commit = local; UPDATE things SET n = 1 WHERE id = 1";
        client.batch_execute(local).expect("it is committed");
        let config = json!({ "mode": "document", "expr": { "ref": ["things", 1] }, "count": 1 });
        let program = Driver::Node.start(&game.cluster, &game.secret, &config).opened();
        client.batch_execute("UPDATE things SET n = 2 WHERE id = 1").expect("it is committed");
        let release = format!("SELECT pg_cancel_backend(pid) FROM ({waiting}) waiting");
        client.batch_execute(&release).expect("it is let go");
        let snapshot = program.says("snapshot")["object"]["data"]["object"]["n"].as_i64();
        if snapshot != Some(2) {
            let event = program.says("version");
            let n = &event["event"]["object"]["document"]["object"]["data"]["object"]["n"];
            assert_eq!((snapshot, n), (Some(1), &json!(2)), "missed or repeated");
        } else {
            client.batch_execute("UPDATE things SET n = 3 WHERE id = 1").expect("it is committed");
            let event = program.says("version");
            let n = &event["event"]["object"]["document"]["object"]["data"]["object"]["n"];
            assert_eq!(n, &json!(3), "repeated");
        }
        holder.join().expect("no panic")
    });
    held.expect("a commit that is not waited for any longer is one");
}

/// Connections to a port of this machine, as the kernel counts them.
fn connections(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let port = format!(":{port:04X}");
    let is_open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().is_some_and(|local| local.ends_with(&port));
        local && fields.nth(1) == Some("01")
    };
    table.lines().filter(is_open).count()
}

#[test]
fn five_hundred_streams_on_one_connection_are_all_served() {
    const COUNT: i64 = 500;
    let game = Game::open();
    game.run(&["INSERT INTO things (id, n) SELECT n, 0 FROM generate_series(1, 500) n"]);
    let config = json!({ "mode": "many", "collection": "things", "count": COUNT });
    let program = Driver::Node.start(&game.cluster, &game.secret, &config);
    assert_eq!(program.says("opened"), COUNT);
    assert_eq!(connections(game.cluster.http().port()), 1);
    game.run(&["UPDATE things SET n = id"]);
    assert_eq!(program.says("served"), COUNT);
}

#[test]
fn a_burst_and_large_documents_arrive_whole_in_both_drivers() {
    const BURST: i64 = 1000;
    let game = Game::open();
    for driver in DRIVERS {
        game.run(&["TRUNCATE scores, spells"]);
        let set = json!({ "documents": "Scores" });
        let config = json!({ "mode": "stream", "expr": set, "count": BURST, "brief": true });
        let program = driver.start(&game.cluster, &game.secret, &config).opened();
        game.run(&["INSERT INTO scores (id) SELECT n FROM generate_series(1, 1000) n"]);
        assert_eq!(program.says("brief")["events"], BURST, "{driver:?}");
    }
    // Texts of many bytes a character, and lines of every length around that of a frame.
    let large = "repeat('ü😀', 250000)";
    for driver in DRIVERS {
        game.run(&["TRUNCATE things", "INSERT INTO things (id, n) VALUES (1, 0)"]);
        let expr = json!({ "ref": ["things", 1] });
        let config = json!({ "mode": "stream", "expr": expr, "count": 34, "brief": true });
        let program = driver.start(&game.cluster, &game.secret, &config).opened();
        let mut bytes = 0;
        let mut client = game.cluster.connect();
        for around in [16_384, 65_536] {
            for length in around - 216..around - 200 {
                bytes += length;
                let sql = format!("UPDATE things SET n = 1, text = repeat('x', {length})");
                client.batch_execute(&sql).expect("it can be written");
            }
        }
        for _ in 0..2 {
            bytes += 3 * 250_000;
            client
                .batch_execute(&format!("UPDATE things SET n = 2, text = {large}"))
                .expect("large");
        }
        let brief = json!({ "events": 34, "bytes": bytes, "last": 2 });
        assert_eq!(program.says("brief"), brief, "{driver:?}");
    }
}

#[test]
fn lines_of_every_length_keep_the_rules_of_frames() {
    let game = Game::open();
    let mut client = game.cluster.connect();
    client.batch_execute("INSERT INTO things (id, n) VALUES (1, 0)").expect("a row");
    let expression = json!({ "ref": { "collection": "things" }, "id": 1 });
    let mut stream =
        V4Stream::open(game.cluster.http(), &game.secret, &expression, &[]).expect("it opens");
    let start = stream.next(LONG).expect("a start").expect("a start");
    assert_eq!(start.kind, Kind::Status);
    let lengths: Vec<i32> = (16_120..16_260).chain([100_000]).collect();
    for length in &lengths {
        let sql = format!("UPDATE things SET text = repeat('x', {length})");
        client.batch_execute(&sql).expect("it can be written");
    }
    for length in lengths {
        let event = stream.next(LONG).expect("well framed").expect("an event");
        let data = event.data.expect("data");
        assert_eq!(
            (event.kind, data["text"].as_str().map(str::len)),
            (Kind::Update, Some(length as usize))
        );
    }
}

#[test]
fn the_end_of_a_stream_is_said_in_both_drivers() {
    let game = Game::open();
    let cluster = &game.cluster;
    let streams = || {
        DRIVERS.map(|driver| {
            let config = json!({ "mode": "stream", "expr": { "ref": ["things", 1] } });
            driver.start(cluster, &game.secret, &config).opened()
        })
    };
    let ended = |programs: [driver::Program; 3], code: &str, description: &str| {
        for program in programs {
            let error = program.error();
            assert_eq!(error["code"], code, "{error}");
            let found = error["description"].as_str().unwrap_or_default();
            assert!(found.starts_with(description), "{error}");
        }
    };
    let lost = streams();
    game.run(&["REVOKE SELECT ON things FROM reader", "INSERT INTO things (id) VALUES (1)"]);
    ended(lost, "permission denied", "Authorization lost during stream evaluation.");
    game.run(&["GRANT SELECT ON things TO reader"]);
    let revoked = streams();
    game.run(&["SELECT event_source.revoke_secret(id) FROM event_source.secrets"]);
    ended(revoked, "permission denied", "Authorization lost during stream evaluation.");
}

#[test]
fn a_release_and_a_stop_are_said_in_both_drivers() {
    let mut game = Game::open();
    let streams = |game: &Game, table: &str| {
        DRIVERS.map(|driver| {
            let config = json!({ "mode": "stream", "expr": { "ref": [table, 1] } });
            driver.start(&game.cluster, &game.secret, &config).opened()
        })
    };
    let released = streams(&game, "things");
    let stopped = streams(&game, "Scores");
    game.run(&["SELECT event_source.release('things')", "INSERT INTO scores VALUES (2)"]);
    for program in released {
        assert_eq!(program.error()["code"], "instance not found");
    }
    game.cluster.stop(event_source_tests::Stop::Fast);
    for program in stopped {
        let error = program.error();
        assert_eq!(error["code"], "time out", "{error}");
        let description = error["description"].as_str().unwrap_or_default();
        assert!(
            description.starts_with("Stream was unexpectedly closed by its source."),
            "{error}"
        );
    }
}

#[test]
fn a_reader_that_the_log_no_longer_waits_for_is_told() {
    let options = event_source_tests::Cluster::options()
        .conf("event_source.retention", "1h")
        .conf("event_source.max_log_size", "16MB");
    let game = Game::with(options);
    let expression = json!({ "ref": { "collection": "things" }, "id": 1 });
    let mut client = game.cluster.connect();
    client.batch_execute("INSERT INTO things (id, n) VALUES (1, 0)").expect("a row");
    let mut stream =
        V4Stream::open(game.cluster.http(), &game.secret, &expression, &[]).expect("it opens");
    // What is not read waits in the log, and the log does not wait for ever.
    let random = "(SELECT string_agg(md5(n::text || clock_timestamp()), '') FROM generate_series(1, 3000) n)";
    for n in 1..=400 {
        let sql = format!("UPDATE things SET n = {n}, text = {random} WHERE id = 1");
        client.batch_execute(&sql).expect("it can be written");
    }
    let mut last = 0;
    let error = loop {
        let event = stream.next(LONG).expect("well framed").expect("an error comes before the end");
        match event.kind {
            Kind::Status => {}
            Kind::Error => break event.error.expect("an error"),
            _ => {
                let n = event.data.expect("data")["n"].as_i64().expect("a number");
                assert_eq!(n, last + 1, "one is missing");
                last = n;
            }
        }
    };
    assert_eq!(error.code, "time out", "{error:?}");
    assert!(error.message.starts_with("Stream timed out while synchronizing."), "{error:?}");
    assert_eq!(stream.next(LONG).expect("a clean end"), None);
}
