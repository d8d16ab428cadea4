//! Directus' SDK, unmodified, against a real cluster: version 26 and 18 on Node, 26 in Chromium.
//!
//! What it prints is what a user's loop gets to see. Where the SDK hides something, a raw socket looks.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

pub(crate) mod board;
mod sdk;

use board::{Board, Raw};
use event_source_tests::processes::Signal;
use event_source_tests::{Cluster, wait_until};
use sdk::{Sdk, Subscriber};
use serde_json::{Value, json};

/// The items' ids.
fn ids(items: &Value) -> Vec<i64> {
    let items = items.as_array().unwrap_or_else(|| panic!("no list: {items}"));
    items.iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

fn start(board: &Board, sdk: Sdk, auth_mode: &str) -> Subscriber {
    let token = (auth_mode != "public").then_some(&board.secret);
    sdk.start(&board.cluster, json!({ "authMode": auth_mode, "token": token })).connected()
}

#[test]
fn each_sdk_sees_items_as_directus_writes_them_and_every_kind_of_event() {
    let mut board = Board::open();
    for sdk in Sdk::ALL {
        board.run(&[
            "TRUNCATE messages",
            r#"INSERT INTO messages VALUES (1, 'hello', 1, 9007199254740993, 1.50000,
               '2020-01-02 03:04:05+00', '{"a": [1]}', true, '00000000-0000-0000-0000-00000000000a')"#,
        ]);
        let item = json!({
            "id": 1, "text": "hello", "n": 1, "big": "9007199254740993", "amount": "1.50000",
            "ts": "2020-01-02T03:04:05.000Z", "js": { "a": [1] }, "ok": true,
            "who": "00000000-0000-0000-0000-00000000000a",
        });
        let mut program = start(&board, sdk, "handshake");
        program.subscribe("all", "messages", json!({}));
        assert_eq!(program.init("all"), json!([item]), "{sdk:?}");
        for event in ["create", "update", "delete"] {
            program.subscribe(event, "messages", json!({ "event": event }));
            let init = program.message(event);
            assert!(init.get("data").is_none(), "{sdk:?}: {init}");
        }
        board.run(&[
            "INSERT INTO messages (id, text) VALUES (2, 'two'), (3, 'three')",
            "UPDATE messages SET n = 7 WHERE id IN (2, 3)",
            "DELETE FROM messages WHERE id IN (1, 2)",
        ]);
        for name in ["all", "create"] {
            assert_eq!(ids(&program.event(name, "create")), [2, 3], "{sdk:?} {name}");
        }
        for name in ["all", "update"] {
            let items = program.event(name, "update");
            assert_eq!((ids(&items), &items[1]["n"]), (vec![2, 3], &json!(7)), "{sdk:?} {name}");
        }
        for name in ["all", "delete"] {
            assert_eq!(program.event(name, "delete"), json!([1, 2]), "{sdk:?} {name}");
        }
        program.tell(&json!({ "unsubscribe": "all" }));
        assert_eq!(program.message("all")["event"], "unsubscribe");
        program.ended("all");
    }
}

/// Version 26 sends texts, version 18 lists and objects.
#[test]
fn a_query_narrows_orders_and_cuts_in_both_forms() {
    let mut board = Board::open();
    for sdk in [Sdk::Node26, Sdk::Node18] {
        board.run(&[
            "TRUNCATE messages",
            "INSERT INTO messages (id, text, n) SELECT n, 'text ' || n, n FROM generate_series(1, 6) n",
        ]);
        let mut program = start(&board, sdk, "handshake");
        let filter =
            json!({ "_and": [{ "text": { "_contains": "text" } }, { "n": { "_gte": 3 } }] });
        let query = json!({ "fields": ["id", "n"], "filter": filter, "sort": ["-n"], "limit": 2 });
        program.subscribe("some", "messages", json!({ "query": query }));
        let expected = json!([{ "id": 6, "n": 6 }, { "id": 5, "n": 5 }]);
        assert_eq!(program.init("some"), expected, "{sdk:?}");
        board.run(&[
            // Cut to the two highest.
            "UPDATE messages SET n = n + 10",
            // Enters the filter: an update. Leaves it: nothing. Outside: nothing.
            "INSERT INTO messages VALUES (7, 'text', 1)",
            "UPDATE messages SET n = 5 WHERE id = 7",
            "UPDATE messages SET n = 0 WHERE id = 7",
            // Whatever the filter says.
            "DELETE FROM messages WHERE id = 7",
        ]);
        let expected = json!([{ "id": 6, "n": 16 }, { "id": 5, "n": 15 }]);
        assert_eq!(program.event("some", "update"), expected, "{sdk:?}");
        assert_eq!(program.event("some", "update"), json!([{ "id": 7, "n": 5 }]), "{sdk:?}");
        assert_eq!(program.event("some", "delete"), json!([7]), "{sdk:?}");

        program.subscribe("behind", "messages", json!({ "query": { "sort": "id", "offset": 4 } }));
        assert_eq!(ids(&program.init("behind")), [5, 6], "{sdk:?}");
        program.subscribe("page", "messages", json!({ "query": { "limit": 2, "page": 2 } }));
        assert_eq!(ids(&program.init("page")), [3, 4], "{sdk:?}");
        program.subscribe("one", "messages", json!({ "item": 3 }));
        assert_eq!(program.init("one")["text"], "text 3", "{sdk:?}");
        board.run(&[
            "UPDATE messages SET n = 0 WHERE id IN (2, 3)",
            "DELETE FROM messages WHERE id = 3",
        ]);
        assert_eq!(program.event("one", "update")["n"], 0, "{sdk:?}");
        assert_eq!(program.event("one", "delete"), "3", "{sdk:?}");
    }
}

#[test]
fn all_three_ways_to_authenticate_work_and_a_bad_one_is_told() {
    let mut board = Board::of(
        Cluster::options()
            .conf("event_source.cors_origins", "*")
            .conf("event_source.anonymous_role", "reader"),
    );
    board.run(&["INSERT INTO messages VALUES (1)"]);
    for sdk in Sdk::ALL {
        for mode in ["public", "strict", "handshake"] {
            let mut program = start(&board, sdk, mode);
            program.subscribe("a", "messages", json!({ "query": { "fields": ["id"] } }));
            assert_eq!(program.init("a"), json!([{ "id": 1 }]), "{sdk:?} {mode}");
        }
        let config = json!({ "authMode": "handshake", "token": "ess_nonsense" });
        let why = sdk.start(&board.cluster, config).refused();
        assert!(why.contains("Authentication failed"), "{sdk:?}: {why}");
    }
}

#[test]
fn a_page_of_another_origin_may_come_in_where_it_is_allowed_and_not_where_it_is_not() {
    let board = Board::of(Cluster::options());
    let config = json!({ "authMode": "handshake", "token": board.secret });
    let refused = Sdk::Chromium.start(&board.cluster, config.clone());
    drop(refused.refused());
    // The page's own address, of a port that is free by then.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    board.cluster.set("event_source.cors_origins", &format!("http://127.0.0.1:{port}"));
    board.cluster.reload();
    let mut config = config;
    config["page_port"] = json!(port);
    wait_until("the setting to count", board::LONG, || {
        Sdk::Chromium.start(&board.cluster, config.clone()).could_connect()
    });
}

/// Of what comes in one piece Node's SDK takes the first message only.
#[test]
fn a_burst_reaches_a_loop_on_node_completely() {
    const ROWS: usize = 1000;
    let mut board = Board::open();
    for sdk in [Sdk::Node26, Sdk::Node18] {
        board.run(&["TRUNCATE messages"]);
        let mut program = start(&board, sdk, "handshake");
        // Two that begin together, and each is told so.
        program.subscribe("a", "messages", json!({ "query": { "fields": ["id", "n"] } }));
        program.subscribe("b", "messages", json!({ "event": "delete" }));
        program.init("a");
        program.init("b");
        board.run(&[&format!("INSERT INTO messages (id) SELECT generate_series(1, {ROWS})")]);
        let mut seen = Vec::new();
        while seen.len() < ROWS {
            seen.extend(ids(&program.event("a", "create")));
        }
        let all: Vec<i64> = (1..=ROWS as i64).collect();
        assert_eq!(seen, all, "{sdk:?}");
        // One transaction each, as fast as they come.
        for n in 1..=ROWS / 4 {
            board
                .client
                .execute("UPDATE messages SET n = $1 WHERE id = $1", &[&(n as i32)])
                .unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < ROWS / 4 {
            seen.extend(ids(&program.event("a", "update")));
        }
        assert_eq!(seen, all[..ROWS / 4], "{sdk:?}");
        board.run(&["DELETE FROM messages"]);
        for name in ["a", "b"] {
            let mut gone = 0;
            while gone < ROWS {
                gone += program.event(name, "delete").as_array().unwrap().len();
            }
            assert_eq!(gone, ROWS, "{sdk:?} {name}");
        }
    }
}

#[test]
fn large_items_of_several_bytes_a_character_arrive_whole() {
    let mut board = Board::open();
    let text = "€𝄞ü\u{2028}".repeat(90_000);
    for sdk in Sdk::ALL {
        board.run(&["TRUNCATE messages"]);
        let mut program = start(&board, sdk, "handshake");
        program.subscribe("a", "messages", json!({ "query": { "fields": ["id", "text"] } }));
        program.init("a");
        let insert = "INSERT INTO messages (id, text) SELECT n, $1 FROM generate_series(1, 4) n";
        board.client.execute(insert, &[&text]).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.extend(program.event("a", "create").as_array().unwrap().iter().cloned());
        }
        assert!(seen.iter().all(|item| item["text"] == text.as_str()), "{sdk:?}");
        program.subscribe("b", "messages", json!({ "query": { "sort": "-id" } }));
        assert_eq!(ids(&program.init("b")), [4, 3, 2, 1], "{sdk:?}");
    }
}

#[test]
fn a_loop_goes_on_with_fresh_items_when_the_server_was_killed() {
    let mut board = Board::open();
    for sdk in Sdk::ALL {
        board.run(&["TRUNCATE messages", "INSERT INTO messages (id) VALUES (1)"]);
        let mut program = start(&board, sdk, "handshake");
        program.find("it to be open", |line| line["event"] == "open");
        program.subscribe("a", "messages", json!({ "query": { "sort": "id" } }));
        assert_eq!(ids(&program.init("a")), [1], "{sdk:?}");
        board.cluster.serving().1.signal(Signal::KILL);
        board.run(&["INSERT INTO messages (id) VALUES (2)"]);
        program.find("it to be open again", |line| line["event"] == "open");
        // The SDK subscribes twice, by the same uid; events come once.
        assert_eq!(ids(&program.init("a")), [1, 2], "{sdk:?}");
        assert_eq!(ids(&program.init("a")), [1, 2], "{sdk:?}");
        board.run(&["INSERT INTO messages (id) VALUES (3)", "DELETE FROM messages WHERE id = 3"]);
        assert_eq!(ids(&program.event("a", "create")), [3], "{sdk:?}");
        assert_eq!(program.event("a", "delete"), json!([3]), "{sdk:?}");
    }
}

/// What the SDK makes of errors: of a subscription that cannot be, an exception in every loop; of one that
/// ends, a message.
#[test]
fn errors_reach_the_loops_as_the_sdk_has_them() {
    let mut board = Board::open();
    for sdk in [Sdk::Node26, Sdk::Node18] {
        let mut program = start(&board, sdk, "handshake");
        program.subscribe("bad", "nothing", json!({}));
        let thrown = program.thrown("bad");
        assert_eq!(thrown["error"]["code"], "FORBIDDEN", "{sdk:?}");
        program.subscribe("good", "messages", json!({}));
        program.init("good");
        board.run(&[
            "REVOKE SELECT ON messages FROM reader",
            "INSERT INTO messages (id) VALUES (1)",
        ]);
        let message = program.message("good");
        assert_eq!(message["event"], "error", "{sdk:?}: {message}");
        assert_eq!(message["error"]["code"], "FORBIDDEN", "{sdk:?}: {message}");
        board.run(&["GRANT SELECT ON messages TO reader", "DELETE FROM messages"]);
    }
}

#[test]
fn the_heartbeat_is_answered_by_the_sdk_and_keeps_a_quiet_loop() {
    let quick = Cluster::options().conf("event_source.status_interval", "300ms");
    let mut board = Board::of(quick);
    let config = json!({ "authMode": "handshake", "token": board.secret, "raw": true });
    let mut program = Sdk::Node26.start(&board.cluster, config).connected();
    program.subscribe("a", "messages", json!({}));
    program.init("a");
    // Several periods later: whoever does not answer is let go after two. Pings themselves are not shown.
    let mut last = Raw(board.at(&format!("/websocket?access_token={}", board.secret)));
    for _ in 0..4 {
        let ping = last.0.next(board::LONG).unwrap().unwrap();
        assert_eq!(ping, json!({ "type": "ping" }));
        last.send(&json!({ "type": "pong" }));
    }
    program.tell(&json!({ "send": { "type": "ping" } }));
    let pong = program.find("a pong", |line| line["heard"]["type"] == "pong");
    assert!(pong["heard"]["uid"].is_string(), "{pong}");
    board.run(&["INSERT INTO messages (id) VALUES (1)"]);
    assert_eq!(ids(&program.event("a", "create")), [1]);
}
