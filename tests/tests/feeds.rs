//! Feeds in SQL: pages, cursors, sets, and the JSON of a row. No worker runs here.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeMap;

use event_source_tests::Cluster;
use event_source_tests::consume::{Kind, sql};
use event_source_tests::follow::{drain, mint, refused, story};
use postgres::Client;
use serde_json::json;

fn shop() -> (Cluster, Client) {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text, n int); SELECT event_source.capture('t')",
        )
        .unwrap();
    (cluster, client)
}

/// Fifty transactions of one row each.
fn fifty(client: &mut Client) {
    for id in 1..=50 {
        client.execute("INSERT INTO t VALUES ($1, 'x')", &[&id]).unwrap();
    }
}

#[test]
fn fifty_events_at_page_size_two_are_exactly_twenty_five_pages() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    fifty(&mut client);
    let (mut cursor, mut keys, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = sql::event_page(&mut client, &token, cursor.as_deref(), 2, &[]).unwrap();
        pages += 1;
        assert_eq!(page.events.len(), 2, "page {pages}");
        keys.extend(page.events.iter().map(|e| e.key.as_ref().and_then(|k| k.as_i64()).unwrap()));
        assert_ne!(cursor.as_ref(), Some(&page.cursor), "the cursor moves on");
        cursor = Some(page.cursor);
        if !page.has_next {
            break;
        }
    }
    assert_eq!(pages, 25);
    assert_eq!(keys, (1..=50).collect::<Vec<i64>>());
    let after = sql::event_page(&mut client, &token, cursor.as_deref(), 2, &[]).unwrap();
    assert!(after.events.is_empty() && !after.has_next);
}

#[test]
fn every_event_is_a_place_to_resume() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t SELECT n FROM generate_series(1, 10) n").unwrap();
    client.batch_execute("UPDATE t SET v = 'y'").unwrap();
    let all = drain(&mut client, &token, None);
    assert_eq!(all.len(), 20);
    for (at, event) in all.iter().enumerate() {
        let rest = drain(&mut client, &token, event.cursor.clone());
        assert_eq!(rest, all[at + 1..], "behind event {at}");
    }
    assert_eq!(drain(&mut client, &token, Some(String::new())), all, "'' is the token's start");
}

#[test]
fn event_feed_is_the_page_as_rows_and_ends_with_a_status() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    let empty = sql::event_feed(&mut client, &token, None, 10, &[]).unwrap();
    assert_eq!(empty.len(), 1);
    assert!(empty[0].cursor.is_some(), "an empty page moves on as well");
    fifty(&mut client);
    let rows = sql::event_feed(&mut client, &token, None, 10, &["prev"]).unwrap();
    let page = sql::event_page(&mut client, &token, None, 10, &["prev"]).unwrap();
    assert_eq!(rows.len(), 11);
    assert_eq!(rows[..10], page.events[..]);
    assert_eq!(rows[10].cursor, Some(page.cursor));
    let rest = sql::event_feed(&mut client, &token, rows[10].cursor.as_deref(), 100, &[]).unwrap();
    assert_eq!(rest.len(), 41);
}

#[test]
fn prev_and_diff_come_when_asked_for() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t VALUES (1, 'a', 1)").unwrap();
    client.batch_execute("UPDATE t SET v = 'b'").unwrap();
    let bare = sql::event_page(&mut client, &token, None, 10, &[]).unwrap().events;
    assert!(bare.iter().all(|e| e.prev.is_none() && e.diff.is_none()));
    let full = sql::event_page(&mut client, &token, None, 10, &["prev", "diff"]).unwrap().events;
    assert_eq!(full[1].prev, Some(json!({"id": 1, "v": "a", "n": 1})));
    assert_eq!(full[1].diff, Some(json!({"v": "b"})));
    refused(sql::event_page(&mut client, &token, None, 10, &["nothing"]));
}

#[test]
fn a_feed_may_start_at_a_time() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    let first = drain(&mut client, &token, None)[0].txn_ts.unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    let rows = client
        .query(
            "SELECT key::text FROM event_feed($1, start_ts => event_source.txn_time($2))
             WHERE type <> 'status'",
            &[&token, &first],
        )
        .unwrap();
    assert_eq!(rows.iter().map(|r| r.get::<_, String>(0)).collect::<Vec<_>>(), ["2"]);
    let round: bool = client
        .query_one("SELECT event_source.txn_ts(event_source.txn_time($1)) = $1", &[&first])
        .unwrap()
        .get(0);
    assert!(round, "txn_ts and txn_time are each other's inverse");
    refused(client.query("SELECT event_page($1, cursor => 'x', start_ts => now())", &[&token]));
}

#[test]
fn what_is_not_committed_is_not_in_a_page() {
    let (cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    let mut open = cluster.connect();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(story(&mut client, &token), ["add 2"], "the open writer delays nobody");
    assert!(story(&mut open, &token) == ["add 2"], "not even its own");
    open.batch_execute("COMMIT").unwrap();
    assert_eq!(story(&mut client, &token), ["add 2", "add 1"], "in the order of commits");
}

#[test]
fn a_page_is_not_bound_to_the_snapshot_of_its_transaction() {
    let (cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    let mut reader = cluster.connect();
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM t").unwrap();
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(story(&mut reader, &token), ["add 1"]);
    let mut serial = cluster.connect();
    serial.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").unwrap();
    let said = refused(serial.query("SELECT event_page($1)", &[&token]));
    assert!(!said.hint.is_empty(), "{said:?}");
    serial.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").unwrap();
    assert_eq!(story(&mut serial, &token), ["add 1"]);
}

#[test]
fn a_token_minted_by_a_writer_delivers_what_that_transaction_wrote() {
    let (_cluster, mut client) = shop();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t VALUES (2); COMMIT").unwrap();
    assert_eq!(story(&mut client, &token), ["add 1", "add 2"]);
}

#[test]
fn bad_arguments_are_refused_and_never_quote_the_token() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    for arguments in [
        "cursor => 'nonsense'",
        "cursor => 'AAAA'",
        "page_size => 0",
        "page_size => -1",
        "page_size => 16001",
        "include => '{all}'",
    ] {
        let said = refused(client.query(&format!("SELECT event_page($1, {arguments})"), &[&token]));
        assert!(!said.message.contains(&token), "{said:?}");
    }
    sql::event_page(&mut client, &token, None, 16000, &[]).unwrap();
}

#[test]
fn an_index_set_follows_terms_values_and_membership() {
    let (_cluster, mut client) = shop();
    client
        .batch_execute(
            "CREATE TABLE p (id int PRIMARY KEY, shop int, price int, cost int, note text);
             CREATE INDEX by_shop ON p (shop, price) INCLUDE (cost);
             CREATE INDEX cheap ON p (shop) WHERE price < 10;
             CREATE INDEX by_lower ON p (lower(note));
             SELECT event_source.capture('p')",
        )
        .unwrap();
    let one = mint(&mut client, "event_source('by_shop', terms => ARRAY[1])");
    let every = mint(&mut client, "event_source('by_shop')");
    let nobody = mint(&mut client, "event_source('by_shop', terms => '{NULL}')");
    let cheap = mint(&mut client, "event_source('cheap', terms => ARRAY[1])");
    let lower = mint(&mut client, "event_source('by_lower', terms => ARRAY['hello'])");
    for statement in [
        "INSERT INTO p VALUES (1, 1, 5, 1, 'HELLO')",
        "UPDATE p SET note = 'Hello'", // no key column, no value: by_lower's value did not change
        "UPDATE p SET cost = 2",       // a value of by_shop
        "UPDATE p SET price = 20",     // a value of by_shop; leaves cheap
        "UPDATE p SET shop = 2",       // leaves the set of shop 1
        "UPDATE p SET shop = NULL",    // enters the set of NULL
        "UPDATE p SET shop = 1, price = 1, note = 'bye'",
        "DELETE FROM p",
    ] {
        client.batch_execute(statement).unwrap();
    }
    assert_eq!(
        story(&mut client, &one),
        ["add 1", "update 1", "update 1", "remove 1", "add 1", "remove 1"]
    );
    assert_eq!(
        story(&mut client, &every),
        ["add 1", "update 1", "update 1", "update 1", "update 1", "update 1", "remove 1"]
    );
    assert_eq!(story(&mut client, &nobody), ["add 1", "remove 1"]);
    assert_eq!(story(&mut client, &cheap), ["add 1", "remove 1", "add 1", "remove 1"]);
    assert_eq!(story(&mut client, &lower), ["add 1", "remove 1"]);
}

#[test]
fn a_filter_decides_membership_and_watch_decides_updates() {
    let (_cluster, mut client) = shop();
    let filtered =
        mint(&mut client, "event_source('t', filter => 'n > $1', params => ARRAY['10'])");
    let watched = mint(&mut client, "event_source('t', watch => '{n}')");
    let typed = mint(&mut client, "event_source('t', types => '{remove}')");
    let narrow = mint(&mut client, "event_source('t', fields => '{v}')");
    for statement in [
        "INSERT INTO t VALUES (1, 'a', 1)",
        "UPDATE t SET n = 11",
        "UPDATE t SET v = 'b'",
        "UPDATE t SET n = NULL",
        "DELETE FROM t",
    ] {
        client.batch_execute(statement).unwrap();
    }
    assert_eq!(story(&mut client, &filtered), ["add 1", "update 1", "remove 1"]);
    assert_eq!(story(&mut client, &watched), ["add 1", "update 1", "update 1", "remove 1"]);
    assert_eq!(story(&mut client, &typed), ["remove 1"]);
    let shown = drain(&mut client, &narrow, None);
    assert!(
        shown.iter().all(|e| e.data.as_ref().is_some_and(|d| d.as_object().unwrap().len() == 1))
    );
    assert_eq!(shown[2].prev, Some(json!({"v": "a"})));
}

#[test]
fn the_events_rebuild_the_table() {
    let (_cluster, mut client) = shop();
    let token = mint(&mut client, "event_source('t')");
    for statement in [
        "INSERT INTO t SELECT n, 'v' || n, n % 7 FROM generate_series(1, 300) n",
        "UPDATE t SET v = 'w' WHERE n = 3",
        "DELETE FROM t WHERE n = 4",
        "UPDATE t SET id = id + 1000 WHERE n = 5",
        "BEGIN; DELETE FROM t WHERE n = 6; INSERT INTO t VALUES (6, 'new', 9); COMMIT",
    ] {
        client.batch_execute(statement).unwrap();
    }
    let mut rows = BTreeMap::new();
    for event in drain(&mut client, &token, None) {
        let key = event.key.unwrap().as_i64().unwrap();
        let before = match event.kind {
            Kind::Remove => rows.remove(&key),
            _ => rows.insert(key, event.data.clone().unwrap()),
        };
        assert_eq!(before, event.prev, "the old image is the row rebuilt so far");
        assert_eq!(event.kind == Kind::Add, before.is_none());
    }
    let table: BTreeMap<i64, serde_json::Value> = client
        .query("SELECT id, row_to_json(t)::text FROM t", &[])
        .unwrap()
        .iter()
        .map(|r| (i64::from(r.get::<_, i32>(0)), serde_json::from_str(r.get(1)).unwrap()))
        .collect();
    assert_eq!(rows, table);
}
