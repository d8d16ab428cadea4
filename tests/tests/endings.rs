//! The end of a stream is never silent: what takes a source away is said in the protocol's own way.
//! And what is too large for the tail arrives all the same.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeSet;

use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::{Kind, Request, Stream, Version};
use event_source_tests::follow::{mint, served};
use event_source_tests::wait::LONG;
use serde_json::Value;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int);
     CREATE INDEX t_v ON t (v);
     SELECT event_source.capture('t')";

/// The code of the error that ends a stream; the body ends behind it.
fn ending(stream: &mut Stream) -> String {
    loop {
        let event = stream.next(LONG).unwrap().expect("an error comes before the end");
        if event.kind == Kind::Error {
            assert!(stream.next(LONG).unwrap().is_none(), "something comes behind the error");
            return event.error.unwrap().code;
        }
        assert_eq!(event.kind, Kind::Status, "{event:?}");
    }
}

#[test]
fn a_role_that_loses_select_loses_its_streams_on_every_wire() {
    let (cluster, mut client) = served(TABLE);
    client.batch_execute("CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader").unwrap();
    let token = mint(&mut cluster.connect_as("reader"), "event_source('t')");
    let mut native = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    let mut v10 = V10Stream::open(cluster.http(), Version::Http2, &token, &token, None).unwrap();
    client.batch_execute("REVOKE SELECT ON t FROM reader").unwrap();
    assert_eq!(ending(&mut native), "permission_denied");
    let code = loop {
        let event = v10.next(LONG).unwrap().expect("an error comes before the end");
        if event.kind == Kind::Error {
            break event.error.unwrap().code;
        }
    };
    assert_eq!(code, "permission_loss");
}

#[test]
fn a_released_or_dropped_table_ends_its_streams_and_no_others() {
    let (cluster, mut client) = served(TABLE);
    client
        .batch_execute(
            "CREATE TABLE u (id int PRIMARY KEY); SELECT event_source.capture('u');
             CREATE TABLE stays (id int PRIMARY KEY); SELECT event_source.capture('stays')",
        )
        .unwrap();
    let mut open = |table: &str| {
        let token = mint(&mut client, &format!("event_source('{table}')"));
        Stream::open(cluster.http(), &Request::new(token)).unwrap()
    };
    let (mut released, mut dropped, mut other) = (open("t"), open("u"), open("stays"));
    client.batch_execute("SELECT event_source.release('t')").unwrap();
    client.batch_execute("DROP TABLE u").unwrap();
    // The worker notices at the next commit at the latest.
    client.batch_execute("INSERT INTO stays VALUES (1)").unwrap();
    assert_eq!(ending(&mut released), "source_gone");
    assert_eq!(ending(&mut dropped), "source_gone");
    assert_eq!(other.next_change(LONG).key, Some(1.into()));
}

#[test]
fn a_dropped_index_ends_the_streams_of_its_sets() {
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t_v', terms => ARRAY[1])");
    let mut stream = Stream::open(cluster.http(), &Request::new(token)).unwrap();
    client.batch_execute("DROP INDEX t_v").unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, 1)").unwrap();
    assert_eq!(ending(&mut stream), "source_gone");
}

#[test]
fn a_transaction_too_large_for_the_tail_arrives_whole_and_between_its_neighbours() {
    const ROWS: i64 = 25_000;
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    let mut stream = Stream::open(cluster.http(), &Request::new(token)).unwrap();
    client.batch_execute("INSERT INTO t VALUES (-1, 0)").unwrap();
    client
        .batch_execute(&format!("INSERT INTO t SELECT n, 1 FROM generate_series(1, {ROWS}) n"))
        .unwrap();
    client.batch_execute("INSERT INTO t VALUES (-2, 0)").unwrap();

    assert_eq!(stream.next_change(LONG).key, Some((-1).into()));
    let mut seen = BTreeSet::new();
    let mut txn_ts = BTreeSet::new();
    for _ in 0..ROWS {
        let event = stream.next_change(LONG);
        assert_eq!(event.kind, Kind::Add);
        txn_ts.insert(event.txn_ts);
        let key = event.key.as_ref().and_then(Value::as_i64).unwrap();
        assert!((1..=ROWS).contains(&key) && seen.insert(key), "{key} comes twice");
    }
    assert_eq!(txn_ts.len(), 1, "one transaction has one place");
    assert_eq!(stream.next_change(LONG).key, Some((-2).into()));
}
