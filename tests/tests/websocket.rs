//! Native streams over WebSockets, by npm `ws`, against a real cluster. Those over HTTP/2 are in
//! `crates/server/tests/websocket.rs`, and Chromium's own in `browser.rs`.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::follow::{mint, served};
use event_source_tests::program::Program;
use event_source_tests::{Cluster, Stop};
use serde_json::{Value, json};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader; SELECT event_source.capture('t')";

/// npm's client, with its socket open.
fn open(cluster: &Cluster, query: &str) -> Program {
    let program = connect(cluster, query);
    assert_eq!(program.said("open"), json!(true));
    program
}

fn connect(cluster: &Cluster, query: &str) -> Program {
    let url = format!("ws://{}/v1/stream?{query}", cluster.http());
    Program::node("socket.js", &json!({ "url": url }))
}

/// The next event that is no status.
fn event(program: &Program) -> Value {
    loop {
        let mut line = program.line();
        if line["pong"].is_null() && line["event"]["type"] != "status" {
            assert!(line["event"].is_object(), "no event: {line}");
            return line["event"].take();
        }
    }
}

#[test]
fn a_socket_tells_what_the_stream_tells_and_goes_on_behind_a_cursor() {
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    let program = open(&cluster, &format!("token={token}&include=prev,diff"));
    let large = "ü\u{2028}😀".repeat(150_000);
    client.batch_execute("INSERT INTO t SELECT n FROM generate_series(1, 1000) n").unwrap();
    client.execute("UPDATE t SET v = $1 WHERE id = 1", &[&large]).unwrap();
    client.batch_execute("DELETE FROM t WHERE id = 2").unwrap();
    let mut cursor = None;
    for id in 1..=1000 {
        let added = event(&program);
        assert_eq!((&added["type"], &added["key"]), (&json!("add"), &json!(id)));
        cursor = cursor.or_else(|| (id == 500).then(|| added["cursor"].clone()));
    }
    let updated = event(&program);
    assert_eq!(updated["prev"], json!({ "id": 1, "v": null }));
    assert!(updated["diff"]["v"] == large.as_str(), "the text is another");
    assert_eq!(event(&program)["type"], "remove");

    let cursor = cursor.unwrap();
    let again = open(&cluster, &format!("token={token}&cursor={}", cursor.as_str().unwrap()));
    for id in 501..=1000 {
        assert_eq!(event(&again)["key"], id);
    }
    // The rows first: 1 and 3 to 1000.
    let rows = open(&cluster, &format!("token={token}&snapshot=true&include="));
    assert_eq!(event(&rows)["key"], 1);
    for id in 3..=1000 {
        let row = event(&rows);
        assert_eq!((&row["type"], &row["key"]), (&json!("add"), &json!(id)));
    }
}

#[test]
fn who_may_not_read_is_refused_by_http_and_who_loses_the_right_is_told_why() {
    let (cluster, mut client) = served(TABLE);
    assert_eq!(connect(&cluster, "token=est_nonsense").said("refused"), 401);
    let token = mint(&mut cluster.connect_as("reader"), "event_source('t')");
    assert_eq!(connect(&cluster, &format!("token={token}&tokn=x")).said("refused"), 400);
    let program = open(&cluster, &format!("token={token}"));
    client.batch_execute("REVOKE SELECT ON t FROM reader").unwrap();
    let error = event(&program);
    assert_eq!(
        (&error["type"], &error["error"]["code"]),
        (&json!("error"), &json!("permission_denied"))
    );
    assert_eq!(program.said("closed")["code"], 1008);
    assert_eq!(connect(&cluster, &format!("token={token}")).said("refused"), 403);
}

#[test]
fn a_ping_is_answered_and_a_stop_is_told_before_the_server_goes_away() {
    let (mut cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    let program = open(&cluster, &format!("token={token}"));
    while program.line()["pong"] != true {}
    drop(client);
    cluster.stop(Stop::Fast);
    assert_eq!(event(&program)["error"]["code"], "unavailable");
    assert_eq!(program.said("closed")["code"], 1001);
}
