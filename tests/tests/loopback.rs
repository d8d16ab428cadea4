//! LoopBack's change streams against a real cluster, by npm `eventsource` and by a client that looks at each
//! line.
//!
//! What browsers see is in `browser.rs`.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

pub(crate) mod changes;
pub(crate) mod models;
mod operators;

use changes::{Change, ChangeStream, Changes, Said};
use event_source_tests::consume::{Failed, Kind, Version, http};
use event_source_tests::processes::Signal;
use event_source_tests::program::Program;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Stop, wait_until};
use models::{address, models, run};
use postgres::Client;
use serde_json::{Value, json};

/// npm's client, with its stream open.
fn npm(url: &str) -> Program {
    let program = Program::node("changes.js", &json!({ "url": url }));
    assert_eq!(program.said("open"), json!(true));
    program
}

/// In one cluster: a cluster takes longer than most of them.
#[test]
fn a_change_stream_is_loopbacks() {
    let (cluster, mut client, secret) = models();
    for behaves in [
        npms_client_sees_every_kind_of_change_as_loopback_writes_it,
        a_model_is_found_by_its_plural_and_by_its_name,
        options_filter_in_each_of_their_forms,
        a_row_that_leaves_the_filter_is_not_told_unless_it_is_asked_for_exactly,
        what_is_wrong_is_said_in_loopbacks_words,
        a_tree_of_any_size_is_refused_and_nothing_else_happens,
        a_burst_and_large_rows_arrive_whole,
        npms_client_comes_back_where_it_was_and_misses_nothing,
        a_client_that_forgets_its_place_begins_anew,
        nobody_reads_as_the_anonymous_role,
        who_takes_json_alone_gets_lines,
    ] {
        let empty = "TRUNCATE mymodel, note, person, \"Odd\"";
        run(&mut client, &[empty]);
        behaves(&cluster, &mut client, &secret);
    }
}

fn npms_client_sees_every_kind_of_change_as_loopback_writes_it(
    cluster: &Cluster,
    client: &mut Client,
    secret: &str,
) {
    let program = npm(&address(cluster, "MyModels", secret, "_format=event-stream"));
    let fields = "options[fields][]=foo&options[fields][]=id";
    let example = npm(&address(cluster, "MyModels", secret, fields));
    run(
        client,
        &[
            "INSERT INTO mymodel VALUES ('bar', 1, '2020-01-02 03:04:05+00', 1)",
            "INSERT INTO mymodel VALUES ('a', NULL, NULL, 2), (E'b\\n\u{2028}ü', 0, NULL, 0)",
            "UPDATE mymodel SET n = n + 1 WHERE id = 1",
            "UPDATE mymodel SET foo = 'both' WHERE id IN (1, 2)",
            "BEGIN; INSERT INTO mymodel (id) VALUES (9); ROLLBACK",
            "UPDATE mymodel SET id = 3 WHERE id = 2",
            "DELETE FROM mymodel WHERE id = 1; DELETE FROM mymodel WHERE id = 9999",
        ],
    );
    // As the documentation's first example prints it.
    let expected = r#"{"target":1,"data":{"foo":"bar","id":1},"type":"create"}"#;
    assert_eq!(example.line()["text"], expected);
    for expected in [
        r#"{"target":1,"data":{"foo":"bar","n":1,"when":"2020-01-02T03:04:05.000Z","id":1},"type":"create"}"#,
        r#"{"target":2,"data":{"foo":"a","n":null,"when":null,"id":2},"type":"create"}"#,
        r#"{"target":0,"data":{"foo":"b\n\u2028ü","n":0,"when":null,"id":0},"type":"create"}"#,
        r#"{"target":1,"data":{"foo":"bar","n":2,"when":"2020-01-02T03:04:05.000Z","id":1},"type":"update"}"#,
        r#"{"target":1,"data":{"foo":"both","n":2,"when":"2020-01-02T03:04:05.000Z","id":1},"type":"update"}"#,
        r#"{"target":2,"data":{"foo":"both","n":null,"when":null,"id":2},"type":"update"}"#,
        r#"{"target":2,"where":{"id":2},"data":{"foo":"both","n":null,"when":null,"id":2},"type":"remove"}"#,
        r#"{"target":3,"data":{"foo":"both","n":null,"when":null,"id":3},"type":"create"}"#,
        r#"{"target":1,"where":{"id":1},"data":{"foo":"both","n":2,"when":"2020-01-02T03:04:05.000Z","id":1},"type":"remove"}"#,
    ] {
        let line = program.line();
        assert_eq!(line["text"], expected);
        assert!(!line["id"].as_str().unwrap().is_empty(), "{line}");
    }
}

fn a_model_is_found_by_its_plural_and_by_its_name(
    cluster: &Cluster,
    client: &mut Client,
    secret: &str,
) {
    let open = |plural: &str| {
        ChangeStream::open(cluster.http(), &Changes::of(plural).by(secret))
            .unwrap_or_else(|e| panic!("{plural}: {e}"))
    };
    let mut models: Vec<ChangeStream> =
        ["MyModels", "mymodels", "MyModel", "mymodel"].map(open).into();
    let mut notes = open("Notes");
    let mut people: Vec<ChangeStream> = ["people", "Person", "Persons"].map(open).into();
    let mut odd = open("Odds");
    run(
        client,
        &[
            "INSERT INTO mymodel (id) VALUES (1)",
            "INSERT INTO note VALUES ('a', '1')",
            "INSERT INTO person VALUES (1, 'Ada')",
            r#"INSERT INTO "Odd" VALUES (1, 'b')"#,
            r#"DELETE FROM "Odd""#,
        ],
    );
    for stream in models.iter_mut().chain(&mut people) {
        assert_eq!(stream.change(LONG).target, json!(1));
    }
    let note = notes.change(LONG);
    assert_eq!((note.target, note.kind), (json!("a"), Kind::Add));
    // A key of several columns has no one name.
    assert_eq!(odd.change(LONG).target, json!([1, "b"]));
    let removed = odd.change(LONG);
    assert_eq!((removed.target, removed.condition), (json!([1, "b"]), None));
}

fn options_filter_in_each_of_their_forms(cluster: &Cluster, client: &mut Client, secret: &str) {
    let encoded = "options=%7B%22where%22%3A%7B%22foo%22%3A%22keep%22%7D%7D";
    let programs = ["_format=event-stream&", ""].map(|format| {
        let bracketed = format!("{format}options[where][foo]=keep");
        [encoded, &bracketed].map(|query| npm(&address(cluster, "MyModels", secret, query)))
    });
    let keep = json!({ "where": { "foo": "keep" } });
    let asked = Changes::of("MyModels").by(secret);
    let mut posted = ChangeStream::open(cluster.http(), &asked.clone().with(keep)).unwrap();
    // Outside of options it is no filter.
    let url = address(cluster, "MyModels", secret, "where=%7B%22foo%22%3A%22keep%22%7D");
    let unfiltered = npm(&url);
    run(
        client,
        &[
            "INSERT INTO mymodel (id, foo) VALUES (1, 'other')",
            "INSERT INTO mymodel (id, foo) VALUES (2, 'keep')",
        ],
    );
    for program in programs.iter().flatten() {
        assert_eq!(program.said("data")["target"], 2);
    }
    assert_eq!(posted.change(LONG).target, json!(2));
    assert_eq!(unfiltered.said("data")["target"], 1);
}

/// What a stream is told of rows that come and go.
fn told(stream: &mut ChangeStream, n: usize) -> Vec<(Kind, Value)> {
    let brief = |change: Change| (change.kind, change.target);
    (0..n).map(|_| brief(stream.change(LONG))).collect()
}

fn a_row_that_leaves_the_filter_is_not_told_unless_it_is_asked_for_exactly(
    cluster: &Cluster,
    client: &mut Client,
    secret: &str,
) {
    let open = |options: Value| {
        let asked = Changes::of("MyModels").by(secret).with(options);
        ChangeStream::open(cluster.http(), &asked).unwrap()
    };
    let keep = json!({ "foo": "keep" });
    let mut plain = open(json!({ "where": keep }));
    let mut exact = open(json!({ "where": keep, "exact": true }));
    let mut trimmed = open(json!({ "where": keep, "fields": ["id", "n"] }));
    run(
        client,
        &[
            "INSERT INTO mymodel (id, foo, n) VALUES (1, 'out', 1), (2, 'keep', 2)",
            "UPDATE mymodel SET foo = 'keep' WHERE id = 1",
            "UPDATE mymodel SET foo = 'out' WHERE id = 2",
            "UPDATE mymodel SET n = 7 WHERE id = 2",
            "DELETE FROM mymodel",
        ],
    );
    let (add, update, remove) = (Kind::Add, Kind::Update, Kind::Remove);
    let expected = [(add, json!(2)), (update, json!(1)), (remove, json!(1))];
    assert_eq!(told(&mut plain, 3), expected);
    let expected = [(add, json!(2)), (add, json!(1)), (remove, json!(2)), (remove, json!(1))];
    assert_eq!(told(&mut exact, 4), expected);
    let created = trimmed.change(LONG);
    assert_eq!(created.data, Some(json!({ "id": 2, "n": 2 })));
}

/// The status and the message of a refusal.
#[track_caller]
fn refusal(cluster: &Cluster, asked: &Changes) -> (u16, Value) {
    match ChangeStream::open(cluster.http(), asked) {
        Err(Failed::Refused { status, body }) => (status.as_u16(), body["error"].clone()),
        other => panic!("not refused: {other:?}"),
    }
}

fn what_is_wrong_is_said_in_loopbacks_words(cluster: &Cluster, _client: &mut Client, secret: &str) {
    let asked = |plural: &str| Changes::of(plural).by(secret);
    let (status, error) = refusal(cluster, &asked("Nopes"));
    let message = "There is no method to handle POST /Nopes/change-stream";
    assert_eq!(
        (status, &error),
        (404, &json!({ "statusCode": 404, "name": "Error", "message": message }))
    );

    let unauthorized = json!({
        "statusCode": 401, "name": "Error", "message": "Authorization Required",
        "code": "AUTHORIZATION_REQUIRED",
    });
    assert_eq!(refusal(cluster, &Changes::of("MyModels")), (401, unauthorized.clone()));
    assert_eq!(refusal(cluster, &Changes::of("MyModels").by("ess_no")), (401, unauthorized));
    let (status, error) = refusal(cluster, &asked("secrets"));
    assert_eq!((status, &error["code"]), (403, &json!("ACCESS_DENIED")));

    let (status, error) = refusal(cluster, &asked("keyless"));
    assert_eq!(status, 400);
    assert_eq!(error["message"], "\"keyless\" has no primary key to tell its rows by");

    for (options, message) in [
        (json!("[]"), "Value is not an object."),
        (json!({ "where": { "nofield": 1 } }), "The field `nofield` does not exist"),
        (json!({ "fields": ["nofield"] }), "The field `nofield` does not exist"),
        (json!({ "where": { "n": "many" } }), "invalid input syntax for type integer: \"many\""),
        (json!({ "where": { "foo": { "near": "1,1" } } }), "operator \"near\" is not supported"),
        (
            json!({ "where": { "foo": { "regexp": "(" } } }),
            "invalid regular expression: parentheses () not balanced",
        ),
    ] {
        let (status, error) = refusal(cluster, &asked("MyModels").with(options.clone()));
        assert_eq!(status, 400, "{options}: {error}");
        assert_eq!(error["message"], message, "{options}");
    }
    // npm's client stops at any of these.
    let url = address(cluster, "Nopes", secret, "");
    let program = Program::node("changes.js", &json!({ "url": url }));
    let failed = program.said("failed");
    assert_eq!((&failed["code"], &failed["state"]), (&json!(404), &json!(2)));
}

/// One of these once ended the worker by its stack, and with it every session of the cluster.
fn a_tree_of_any_size_is_refused_and_nothing_else_happens(
    cluster: &Cluster,
    client: &mut Client,
    secret: &str,
) {
    let serving = cluster.serving();
    for group in ["and", "or", "nor"] {
        for items in [101, 1_000, 10_000, 60_000] {
            let empty = vec![json!({}); items];
            let options = json!({ "where": { group: empty } });
            for asked in [Changes::of("MyModels"), Changes::of("MyModels").by(secret)] {
                let (status, error) = refusal(cluster, &asked.with(options.clone()));
                assert_eq!(status, 400, "{items} in {group}: {error}");
            }
        }
        let deep = (0..60).fold(json!({ "id": 1 }), |of, _| json!({ group: [of] }));
        let asked = Changes::of("MyModels").by(secret).with(json!({ "where": deep }));
        assert_eq!(refusal(cluster, &asked).0, 400, "{group}");
    }
    assert_eq!(cluster.serving(), serving);
    // The session of before.
    run(client, &["INSERT INTO mymodel (id) VALUES (1)"]);
}

fn nobody_reads_as_the_anonymous_role(cluster: &Cluster, client: &mut Client, _secret: &str) {
    cluster.set("event_source.anonymous_role", "reader");
    cluster.reload();
    let asked = Changes::of("MyModels");
    let mut stream = None;
    wait_until("the role to count", LONG, || {
        stream = ChangeStream::open(cluster.http(), &asked).ok();
        stream.is_some()
    });
    run(client, &["INSERT INTO mymodel (id) VALUES (1)"]);
    assert_eq!(stream.unwrap().change(LONG).target, json!(1));
    // Without a name it may not, and is asked for one.
    assert_eq!(refusal(cluster, &Changes::of("secrets")).0, 401);
}

/// The error that ends a stream.
fn ending(stream: &mut ChangeStream) -> Value {
    loop {
        match stream.next(LONG).unwrap().expect("an error comes before the end") {
            Said::Error(error) => {
                assert_eq!(stream.next(LONG).unwrap(), None, "something comes behind the error");
                return error;
            }
            Said::Change(_) => {}
        }
    }
}

#[test]
fn every_end_is_told_in_band_and_a_position_that_is_gone_by_a_status() {
    let (mut cluster, mut client, secret) = models();
    let open = |cluster: &Cluster, plural: &str| {
        ChangeStream::open(cluster.http(), &Changes::of(plural).by(&secret)).unwrap()
    };
    let (mut denied, mut released) = (open(&cluster, "MyModels"), open(&cluster, "Notes"));
    let (mut stopped, npm) =
        (open(&cluster, "people"), npm(&address(&cluster, "people", &secret, "")));
    run(&mut client, &["REVOKE SELECT ON mymodel FROM reader"]);
    assert_eq!(ending(&mut denied)["code"], "ACCESS_DENIED");
    run(&mut client, &["SELECT event_source.release('note')", "INSERT INTO person VALUES (1)"]);
    assert_eq!(ending(&mut released)["code"], "SOURCE_GONE");

    let id = stopped.id().map(str::to_owned);
    drop(client);
    cluster.stop(Stop::Fast);
    assert_eq!(ending(&mut stopped)["message"], "the server is stopping");
    assert_eq!(npm.said("data")["target"], 1);
    // Its own error event, and then that of the connection.
    assert_eq!(npm.said("failed")["data"]["message"], "the server is stopping");

    cluster.launch();
    let _serving = cluster.serving();
    // It has come back with the position, and gets what is written now.
    while npm.line()["open"] != true {}
    let mut client = cluster.connect();
    run(&mut client, &["INSERT INTO person VALUES (2)"]);
    assert_eq!(npm.said("data")["target"], 2);
    cluster.set("event_source.retention", "1s");
    cluster.reload();
    let oldest = "SELECT count(*) FROM event_source.changes";
    wait_until("the changes to be let go", LONG, || {
        client.query_one(oldest, &[]).unwrap().get::<_, i64>(0) == 0
    });
    let (status, error) = refusal(&cluster, &Changes::of("people").by(&secret).after(id));
    assert_eq!((status, &error["code"]), (410, &json!("POSITION_GONE")));
}

fn a_burst_and_large_rows_arrive_whole(cluster: &Cluster, client: &mut Client, secret: &str) {
    const ROWS: i64 = 1000;
    let program = npm(&address(cluster, "MyModels", secret, ""));
    run(
        client,
        &[
            &format!("INSERT INTO mymodel (id) SELECT n FROM generate_series(1, {ROWS}) n"),
            "INSERT INTO mymodel (id, foo) VALUES (0, repeat('a\u{2028}ü😀', 150000))",
            "UPDATE mymodel SET n = 1 WHERE id = 0",
        ],
    );
    for id in 1..=ROWS {
        assert_eq!(program.said("data")["target"], id);
    }
    let text = "a\u{2028}ü😀".repeat(150_000);
    for kind in ["create", "update"] {
        let data = program.said("data");
        assert_eq!(data["type"], kind);
        assert!(data["data"]["foo"] == text.as_str(), "the text is another");
    }
}

/// The server process is killed under npm's client, again and again.
fn npms_client_comes_back_where_it_was_and_misses_nothing(
    cluster: &Cluster,
    client: &mut Client,
    secret: &str,
) {
    const ROWS: i64 = 600;
    let url = address(cluster, "MyModels", secret, "");
    let program = npm(&url);
    for id in 1..=ROWS {
        run(client, &[&format!("INSERT INTO mymodel (id) VALUES ({id})")]);
        if id % 200 == 100 {
            cluster.serving().1.signal(Signal::KILL);
        }
    }
    for id in 1..=ROWS {
        let line = loop {
            let line = program.line();
            if !line["data"].is_null() {
                break line;
            }
            assert_ne!(line["failed"]["state"], 2, "it has given up: {line}");
        };
        assert_eq!(line["data"]["target"], id);
    }
}

fn a_client_that_forgets_its_place_begins_anew(
    cluster: &Cluster,
    client: &mut Client,
    secret: &str,
) {
    let url = address(cluster, "MyModels", secret, "");
    let program = Program::node("changes.js", &json!({ "url": url, "keep_id": false }));
    assert_eq!(program.said("open"), json!(true));
    run(client, &["INSERT INTO mymodel (id) VALUES (1)"]);
    assert_eq!(program.said("data")["target"], 1);
    cluster.serving().1.signal(Signal::KILL);
    assert_eq!(program.said("failed")["state"], 0);
    run(client, &["INSERT INTO mymodel (id) VALUES (2)"]);
    while program.line()["open"] != true {}
    run(client, &["INSERT INTO mymodel (id) VALUES (3)"]);
    assert_eq!(program.said("data")["target"], 3);
}

fn who_takes_json_alone_gets_lines(cluster: &Cluster, client: &mut Client, secret: &str) {
    let (address, own) = (cluster.http(), secret.to_owned());
    // Its stream ends, so that its body can be read whole.
    let reading = std::thread::spawn(move || {
        let headers = [("accept", "application/json"), ("x-access-token", own.as_str())];
        let body = json!({ "options": { "where": { "id": 1 } } });
        http::text(address, Version::Http1, "/api/people/change-stream", &headers, &body)
    });
    let mut other = ChangeStream::open(address, &Changes::of("people").by(secret)).unwrap();
    let both = "SELECT streams = 2 FROM event_source.status";
    wait_until("both streams to be there", LONG, || client.query_one(both, &[]).unwrap().get(0));
    run(client, &["INSERT INTO person VALUES (1, 'Ada')"]);
    assert_eq!(other.change(LONG).target, json!(1));
    run(client, &["SELECT event_source.release('person')", "INSERT INTO mymodel (id) VALUES (1)"]);
    let text = reading.join().unwrap().unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let words: Vec<&Value> = lines.iter().map(|line| &line[1]).collect();
    assert_eq!(words, ["new", "data", "error"], "{text}");
    let change = json!({ "target": 1, "data": { "id": 1, "name": "Ada" }, "type": "create" });
    assert_eq!(lines[1][2], change);
}
