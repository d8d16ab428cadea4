//! Directus' messages, looked at one by one: what the SDK hides, and what must hold whatever a client does.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::directus::board::{Board, LONG, Raw};
use event_source_tests::processes::Signal;
use event_source_tests::{Cluster, Stop, jwt, wait_until};
use postgres::error::SqlState;
use serde_json::{Value, json};

fn ids(items: &Value) -> Vec<i64> {
    let items = items.as_array().unwrap_or_else(|| panic!("no list: {items}"));
    items.iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

/// The documentation that users come from, message by message.
#[test]
fn the_documents_own_messages_are_answered_as_printed_there() {
    let mut board = Board::open();
    let mut socket = board.socket();
    // "In return, you will receive a message to confirm": every server sends the items as well.
    let init = socket.ask(&json!({ "type": "subscribe", "collection": "messages" }));
    assert_eq!(init, json!({ "type": "subscription", "event": "init", "data": [] }));
    board.run(&["INSERT INTO messages (id, text) VALUES (1, 'a')"]);
    let created = socket.next().unwrap();
    assert_eq!((&created["type"], &created["event"]), (&json!("subscription"), &json!("create")));
    assert_eq!((&created["data"][0]["text"], created.get("uid")), (&json!("a"), None));
    let all = socket.ask(&json!({ "type": "unsubscribe" }));
    assert_eq!(all, json!({ "type": "subscription", "event": "unsubscribe" }));

    let only = json!({ "type": "subscribe", "collection": "messages", "event": "create" });
    assert_eq!(socket.ask(&only), json!({ "type": "subscription", "event": "init" }));
    let query = json!({ "fields": ["text"] });
    let fields =
        json!({ "type": "subscribe", "collection": "messages", "query": query, "uid": "f" });
    let expected =
        json!({ "type": "subscription", "event": "init", "data": [{ "text": "a" }], "uid": "f" });
    assert_eq!(socket.ask(&fields), expected);
    let uid = json!({ "type": "subscribe", "collection": "messages", "uid": "any-string-value" });
    assert_eq!(socket.ask(&uid)["uid"], "any-string-value");
    socket.ask(&json!({ "type": "unsubscribe", "uid": "f" }));
    board.run(&["UPDATE messages SET n = 1", "INSERT INTO messages (id) VALUES (2)"]);
    let mut said: Vec<(Value, Value)> = Vec::new();
    for _ in 0..3 {
        let message = socket.next().unwrap();
        said.push((message["event"].clone(), message["uid"].clone()));
    }
    said.sort_by_key(|said| format!("{said:?}"));
    let named = json!("any-string-value");
    let expected = [
        (json!("create"), Value::Null),
        (json!("create"), named.clone()),
        (json!("update"), named),
    ];
    assert_eq!(said, expected);
    let one = socket.ask(&json!({ "type": "unsubscribe", "uid": "identifier" }));
    let expected = json!({ "type": "subscription", "event": "unsubscribe", "uid": "identifier" });
    assert_eq!(one, expected);
}

#[test]
fn a_uid_is_a_string_in_subscriptions_is_echoed_elsewhere_and_replaces() {
    let mut board = Board::open();
    let mut socket = board.socket();
    let init = socket.ask(&json!({ "type": "subscribe", "collection": "messages", "uid": 5 }));
    assert_eq!(init["uid"], "5");
    // The same uid, of another table's: the role may not see it, and so the first one stays.
    let refused = socket.ask(&json!({ "type": "subscribe", "collection": "other", "uid": 5 }));
    assert_eq!((&refused["type"], &refused["uid"]), (&json!("subscribe"), &json!(5)));
    assert_eq!(refused["error"]["code"], "FORBIDDEN");
    let again = json!({
        "type": "subscribe", "collection": "messages", "uid": "5", "query": { "fields": "id" },
    });
    assert_eq!(socket.ask(&again)["data"], json!([]));
    board.run(&["INSERT INTO messages (id, text) VALUES (1, 'a')"]);
    assert_eq!(socket.event(), ("create".to_owned(), json!([{ "id": 1 }])));
    let pong = socket.ask(&json!({ "type": "ping", "uid": 7 }));
    assert_eq!(pong, json!({ "type": "pong", "uid": 7 }), "and nothing of the first one before it");
    // Without a uid each is one more.
    for _ in 0..2 {
        socket.subscribe(json!({ "event": "create" }));
    }
    board.run(&["INSERT INTO messages (id) VALUES (2)"]);
    for _ in 0..3 {
        assert_eq!(socket.event().0, "create");
    }
    let gone = socket.ask(&json!({ "type": "unsubscribe", "uid": 5 }));
    assert_eq!(gone["uid"], 5);
}

#[test]
fn what_is_wrong_is_said_in_directus_words_and_the_socket_stays() {
    let board = Board::open();
    let mut socket = board.socket();
    let mut error = |message: Value| {
        let answer = socket.ask(&message);
        assert_eq!(answer["status"], "error", "{message}: {answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&answer["type"]), text(&answer["error"]["code"]), text(&answer["error"]["message"]))
    };
    let (area, code, message) = error(json!([]));
    assert_eq!((area.as_str(), code.as_str()), ("server", "INVALID_PAYLOAD"));
    assert_eq!(message, "Validation error: Invalid input: expected object, received array");
    let mut subscribe = |more: Value| {
        let mut message = json!({ "type": "subscribe", "collection": "messages" });
        for (name, value) in more.as_object().unwrap() {
            message[name] = value.clone();
        }
        let (area, code, message) = error(message);
        assert_eq!(area, "subscribe");
        (code, message)
    };
    for collection in ["nothing", "other"] {
        let (code, message) = subscribe(json!({ "collection": collection }));
        let expected = format!(
            "You don't have permission to access collection \"{collection}\" or it does not exist. \
             Queried in root."
        );
        assert_eq!((code.as_str(), message), ("FORBIDDEN", expected));
    }
    for query in [
        json!({ "fields": ["nofield"] }),
        json!({ "filter": { "nofield": 1 } }),
        json!({ "sort": "nofield" }),
    ] {
        let (code, message) = subscribe(json!({ "query": query }));
        assert_eq!(code, "FORBIDDEN", "{query}: {message}");
        assert!(message.contains("field \"nofield\" in collection \"messages\""), "{message}");
    }
    for (more, expected) in [
        (json!({ "query": { "filter": "{" } }), "Invalid JSON for filter object."),
        (json!({ "query": { "filter": { "n": { "_gt": "many" } } } }), "integer"),
        (json!({ "query": { "filter": { "n": { "_contains": "1" } } } }), "strpos"),
        (json!({ "query": { "search": "x" } }), "\"search\" is not supported"),
        (json!({ "collection": "keyless" }), "no primary key"),
    ] {
        let (code, message) = subscribe(more.clone());
        assert_eq!(code, "INVALID_QUERY", "{more}: {message}");
        assert!(message.contains(expected), "{more}: {message}");
    }
    assert_eq!(subscribe(json!({ "item": 99 })).0, "FORBIDDEN");
    assert_eq!(subscribe(json!({ "item": "x" })).0, "INVALID_QUERY");
    let (area, ..) = error(json!({ "type": "items", "action": "read", "collection": "messages" }));
    assert_eq!(area, "items");
    // What is not known is not answered.
    socket.send(&json!({ "type": "hello" }));
    assert_eq!(socket.ask(&json!({ "type": "ping" })), json!({ "type": "pong" }));
}

/// Each operator once, over the items that there are and over what happens to them.
#[test]
fn filters_mean_the_same_for_items_and_for_events() {
    let mut board = Board::open();
    let rows = "(1, 'Alpha', 10, true, '2020-01-01'), (2, 'beta', 20, false, '2030-01-01'),
                (3, '', 30, true, NULL), (4, NULL, NULL, NULL, NULL)";
    board.run(&[&format!("INSERT INTO messages (id, text, n, ok, ts) VALUES {rows}")]);
    let cases = [
        (json!({ "n": { "_eq": 10 } }), vec![1]),
        (json!({ "n": "10" }), vec![1]),
        (json!({ "n": { "_neq": 10 } }), vec![2, 3]),
        (json!({ "n": { "_lt": 20 } }), vec![1]),
        (json!({ "n": { "_lte": 20 } }), vec![1, 2]),
        (json!({ "n": { "_gt": 20 } }), vec![3]),
        (json!({ "n": { "_gte": 20 } }), vec![2, 3]),
        (json!({ "n": { "_in": [10, 30] } }), vec![1, 3]),
        (json!({ "n": { "_nin": [10, 30] } }), vec![2]),
        (json!({ "n": { "_null": true } }), vec![4]),
        (json!({ "n": { "_nnull": true } }), vec![1, 2, 3]),
        (json!({ "n": { "_between": [10, 20] } }), vec![1, 2]),
        (json!({ "n": { "_nbetween": [10, 20] } }), vec![3]),
        (json!({ "text": { "_contains": "lph" } }), vec![1]),
        (json!({ "text": { "_icontains": "ALPH" } }), vec![1]),
        (json!({ "text": { "_ncontains": "lph" } }), vec![2, 3]),
        (json!({ "text": { "_starts_with": "Al" } }), vec![1]),
        (json!({ "text": { "_istarts_with": "BE" } }), vec![2]),
        (json!({ "text": { "_nstarts_with": "Al" } }), vec![2, 3]),
        (json!({ "text": { "_nistarts_with": "al" } }), vec![2, 3]),
        (json!({ "text": { "_ends_with": "ta" } }), vec![2]),
        (json!({ "text": { "_iends_with": "TA" } }), vec![2]),
        (json!({ "text": { "_nends_with": "ta" } }), vec![1, 3]),
        (json!({ "text": { "_niends_with": "TA" } }), vec![1, 3]),
        (json!({ "text": { "_empty": true } }), vec![3, 4]),
        (json!({ "text": { "_nempty": true } }), vec![1, 2]),
        (json!({ "text": { "_regex": "^[A-Z]" } }), vec![1]),
        (json!({ "ok": { "_eq": true } }), vec![1, 3]),
        (json!({ "ts": { "_lt": "$NOW" } }), vec![1]),
        (json!({ "ts": { "_gt": "$NOW(+1 year)" } }), vec![2]),
        (json!({ "_or": [{ "n": 10 }, { "text": "beta" }] }), vec![1, 2]),
        (json!({ "_and": [{ "n": { "_gt": 5 } }, { "ok": true }] }), vec![1, 3]),
    ];
    let mut sockets: Vec<Raw> = Vec::new();
    for (filter, expected) in &cases {
        let mut socket = board.socket();
        let query = json!({ "filter": filter, "fields": ["id"] });
        assert_eq!(ids(&socket.subscribe(json!({ "query": query }))), *expected, "{filter}");
        sockets.push(socket);
    }
    board.run(&["UPDATE messages SET who = '00000000-0000-0000-0000-000000000001'"]);
    for ((filter, expected), socket) in cases.iter().zip(&mut sockets) {
        let (event, items) = socket.event();
        assert_eq!((event.as_str(), ids(&items)), ("update", expected.clone()), "{filter}");
    }
}

#[test]
fn exact_subscriptions_are_told_what_leaves_them_and_nothing_of_others() {
    let mut board = Board::open();
    board.run(&["INSERT INTO messages (id, n) VALUES (1, 1), (2, 2)"]);
    let mut socket = board.socket();
    socket.subscribe(json!({ "exact": true, "query": { "filter": { "n": { "_gt": 1 } } } }));
    board.run(&[
        "DELETE FROM messages WHERE id = 1",
        "UPDATE messages SET n = 0 WHERE id = 2",
        "INSERT INTO messages (id, n) VALUES (3, 3)",
    ]);
    assert_eq!(socket.event(), ("delete".to_owned(), json!([2])));
    assert_eq!(socket.event().0, "create");
}

/// Many subscriptions begin beside writers; each has to come to what the table is in the end.
#[test]
fn items_and_events_together_are_the_table_whenever_a_subscription_begins() {
    const ROUNDS: usize = 40;
    let mut board = Board::open();
    let stop = AtomicBool::new(false);
    let cluster = &board.cluster;
    let mut copies = Vec::new();
    thread::scope(|scope| {
        for writer in 0..3 {
            let stop = &stop;
            scope.spawn(move || {
                let mut client = cluster.connect();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = n % 20;
                    let sql = match n / 20 % 3 {
                        0 => format!(
                            "INSERT INTO messages (id, n) VALUES ({id}, {writer}) ON CONFLICT (id) DO NOTHING"
                        ),
                        1 => format!("UPDATE messages SET n = {n} WHERE id >= {id}"),
                        _ => format!("DELETE FROM messages WHERE id = {id}"),
                    };
                    // Two that update many rows may meet in the middle; PostgreSQL ends one of them.
                    if let Err(error) = client.batch_execute(&sql) {
                        assert_eq!(error.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED), "{sql}");
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            let mut socket = board.socket();
            let items = socket.subscribe(json!({ "query": { "limit": -1 } }));
            let mut copy = BTreeMap::new();
            for item in items.as_array().unwrap() {
                copy.insert(item["id"].as_i64().unwrap(), item.clone());
            }
            copies.push((socket, copy));
        }
        stop.store(true, Ordering::Relaxed);
    });
    board.run(&["INSERT INTO messages (id) VALUES (1000)"]);
    let mut all = board.socket();
    let expected = all.subscribe(json!({ "query": { "limit": -1, "sort": "id" } }));
    for (socket, copy) in &mut copies {
        while !copy.contains_key(&1000) {
            let (event, items) = socket.event();
            for item in items.as_array().unwrap() {
                match event.as_str() {
                    "delete" => {
                        let gone = copy.remove(&item.as_i64().unwrap());
                        assert!(gone.is_some(), "{item} is deleted and was not there");
                    }
                    "create" => {
                        let new = copy.insert(item["id"].as_i64().unwrap(), item.clone());
                        assert!(new.is_none(), "{item} is created and was there: {new:?}");
                    }
                    _ => assert!(
                        copy.insert(item["id"].as_i64().unwrap(), item.clone()).is_some(),
                        "{item} is updated and was not there"
                    ),
                }
            }
        }
        let copy: Vec<&Value> = copy.values().collect();
        assert_eq!(json!(copy), expected);
    }
}

/// The code of what a subscription's reader is told last.
fn ending(socket: &mut Raw) -> String {
    loop {
        let message = socket.next().expect("an error comes before the end");
        if message["event"] == "error" {
            assert_eq!((&message["type"], &message["uid"]), (&json!("subscription"), &json!("u")));
            return message["error"]["code"].as_str().unwrap().to_owned();
        }
    }
}

#[test]
fn whatever_ends_a_subscription_is_said_to_its_reader_alone() {
    let mut board = Board::open();
    board.run(&["CREATE TABLE stays (id int PRIMARY KEY); GRANT SELECT ON stays TO reader;
         SELECT event_source.capture('stays')"]);
    let mut socket = board.socket();
    socket.subscribe(json!({ "collection": "stays", "uid": "s" }));
    socket.subscribe(json!({ "uid": "u" }));
    board.run(&["REVOKE SELECT ON messages FROM reader", "INSERT INTO messages (id) VALUES (1)"]);
    assert_eq!(ending(&mut socket), "FORBIDDEN");
    board.run(&["GRANT SELECT ON messages TO reader"]);
    socket.subscribe(json!({ "uid": "u" }));
    board.run(&["ALTER TABLE messages ALTER COLUMN n TYPE bigint"]);
    assert_eq!(ending(&mut socket), "SERVICE_UNAVAILABLE");
    socket.subscribe(json!({ "uid": "u" }));
    board.run(&["SELECT event_source.release('messages')"]);
    assert_eq!(ending(&mut socket), "FORBIDDEN");
    board.run(&["INSERT INTO stays VALUES (1)"]);
    let (event, items) = socket.event();
    assert_eq!((event.as_str(), items), ("create", json!([{ "id": 1 }])));
    // The socket itself: told by its close.
    board.cluster.stop(Stop::Fast);
    assert!(socket.next().is_none());
}

#[test]
fn a_secret_that_is_revoked_ends_the_socket_with_an_auth_error() {
    let mut board = Board::open();
    let mut socket = board.socket();
    socket.subscribe(json!({}));
    board.run(&["SELECT event_source.revoke_secret(id) FROM event_source.secrets"]);
    let expired = socket.next().unwrap();
    assert_eq!(expired["error"]["code"], "TOKEN_EXPIRED");
    // What the SDK does then.
    let secret = board.secret.clone();
    let refused = socket.ask(&json!({ "type": "auth", "access_token": secret }));
    assert_eq!(
        (&refused["type"], &refused["error"]["code"]),
        (&json!("auth"), &json!("AUTH_FAILED"))
    );
    assert!(socket.next().is_none());
}

#[test]
fn a_jwt_that_expires_may_be_followed_by_another_and_nothing_is_missed() {
    let mut board = Board::open();
    let token = |seconds| jwt::by_secret(&jwt::claims("reader", seconds));
    let mut socket = Raw(board.at("/websocket"));
    let auth = |seconds| json!({ "type": "auth", "access_token": token(seconds), "uid": "a" });
    let ok = json!({ "type": "auth", "status": "ok", "uid": "a" });
    assert_eq!(socket.ask(&auth(3)), ok);
    socket.subscribe(json!({ "uid": "u" }));
    board.run(&["INSERT INTO messages (id) VALUES (1)"]);
    assert_eq!(ids(&socket.event().1), [1]);
    let expired = socket.next().unwrap();
    let error = json!({ "code": "TOKEN_EXPIRED", "message": "Token expired." });
    assert_eq!(expired, json!({ "type": "auth", "status": "error", "error": error }));
    board.run(&["INSERT INTO messages (id) VALUES (2)"]);
    assert_eq!(socket.ask(&auth(600)), ok);
    assert_eq!(ids(&socket.event().1), [2]);
}

#[test]
fn a_handshake_that_fails_is_told_before_anything_else_and_closes() {
    let board = Board::open();
    let failed = json!({
        "type": "auth", "status": "error",
        "error": { "code": "AUTH_FAILED", "message": "Authentication handshake failed." },
    });
    for first in [
        json!({ "type": "subscribe", "collection": "messages" }),
        json!({ "type": "ping" }),
        json!({ "type": "auth", "access_token": "ess_nonsense", "uid": "x" }),
        json!({ "type": "auth", "email": "a@b.c", "password": "x" }),
        json!({ "type": "auth", "refresh_token": "x" }),
    ] {
        let mut socket = Raw(board.at("/websocket"));
        assert_eq!(socket.ask(&first), failed, "{first}");
        assert!(socket.next().is_none(), "{first}");
    }
    let mut socket = Raw(board.at("/websocket?access_token=ess_nonsense"));
    assert_eq!(socket.next().unwrap(), failed);
    assert!(socket.next().is_none());
}

#[test]
fn a_public_socket_may_raise_its_role_and_outlives_a_failure() {
    let mut board = Board::of(Cluster::options().conf("event_source.anonymous_role", "anybody"));
    board.run(&["CREATE ROLE anybody"]);
    wait_until("the role to count", LONG, || {
        let mut socket = Raw(board.at("/websocket"));
        socket.ask(&json!({ "type": "ping" })) == json!({ "type": "pong" })
    });
    let mut socket = Raw(board.at("/websocket"));
    let subscribe = json!({ "type": "subscribe", "collection": "messages" });
    assert_eq!(socket.ask(&subscribe)["error"]["code"], "FORBIDDEN");
    let failed = socket.ask(&json!({ "type": "auth", "access_token": "ess_x", "uid": "z" }));
    let error = json!({ "code": "AUTH_FAILED", "message": "Authentication failed." });
    assert_eq!(failed, json!({ "type": "auth", "status": "error", "error": error, "uid": "z" }));
    let secret = board.secret.clone();
    let raised = socket.ask(&json!({ "type": "auth", "access_token": secret }));
    assert_eq!(raised, json!({ "type": "auth", "status": "ok" }));
    assert_eq!(socket.ask(&subscribe)["event"], "init");
}

#[test]
fn a_client_that_is_silent_is_asked_and_then_let_go() {
    let quick = Cluster::options().conf("event_source.status_interval", "500ms");
    let board = Board::of(quick);
    let mut socket = board.socket();
    let ping = json!({ "type": "ping" });
    assert_eq!(socket.0.next(LONG).unwrap().unwrap(), ping);
    // Any message is a sign of life.
    socket.send(&json!({ "type": "pong" }));
    assert_eq!(socket.0.next(LONG).unwrap().unwrap(), ping);
    assert!(socket.0.next(LONG).unwrap().is_none());
}

#[test]
fn no_session_notices_when_the_server_is_killed_and_sockets_come_back() {
    let mut board = Board::open();
    let mut socket = board.socket();
    socket.subscribe(json!({}));
    board.cluster.serving().1.signal(Signal::KILL);
    assert!(matches!(socket.0.next(LONG), Ok(None) | Err(_)));
    board.run(&["INSERT INTO messages (id) VALUES (1)"]);
    let _serving = board.cluster.serving();
    assert_eq!(ids(&board.socket().subscribe(json!({}))), [1]);
}
