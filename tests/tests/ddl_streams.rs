//! DDL while streams are open: each change of a schema either goes on correctly, or ends the streams
//! with an error that says why, behind everything that was before it.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::{Event, Form, Kind, Request, Stream, Version, sql};
use event_source_tests::follow::{drain, mint, refused, story};
use event_source_tests::wait::LONG;
use postgres::Client;
use serde_json::json;

/// A served cluster with a captured table `t (id, v, w)`, an index on `v`, and one row in it.
fn served() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v int, w text);
             CREATE INDEX t_v ON t (v);
             INSERT INTO t VALUES (1, 10, 'one');
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let _ = cluster.serving();
    (cluster, client)
}

fn open(cluster: &Cluster, client: &mut Client, call: &str) -> Stream {
    let token = mint(client, call);
    Stream::open(cluster.http(), &Request::new(token).with_prev()).unwrap()
}

fn next_change(stream: &mut Stream) -> Event {
    loop {
        let event = stream.next(LONG).unwrap().expect("the stream goes on");
        if event.kind.is_change() {
            return event;
        }
        assert_eq!(event.kind, Kind::Status, "{event:?}");
    }
}

/// The code of the error that ends a stream, and how many changes came before it.
fn ending(stream: &mut Stream) -> (String, usize) {
    let mut changes = 0;
    loop {
        let event = stream.next(LONG).unwrap().expect("an error comes before the end");
        match event.kind {
            Kind::Error => {
                assert!(stream.next(LONG).unwrap().is_none(), "something comes behind the error");
                return (event.error.unwrap().code, changes);
            }
            Kind::Status => {}
            _ => changes += 1,
        }
    }
}

fn ending_v10(stream: &mut V10Stream) -> String {
    loop {
        let event = stream.next(LONG).unwrap().expect("an error comes before the end");
        if event.kind == Kind::Error {
            return event.error.unwrap().code;
        }
    }
}

#[test]
fn a_renamed_table_column_and_schema_go_on_under_their_new_names() {
    let (cluster, mut client) = served();
    let mut stream = open(&cluster, &mut client, "event_source('t')");
    let mut set = open(&cluster, &mut client, "event_source('t_v', terms => ARRAY[11])");
    let mut filtered =
        open(&cluster, &mut client, "event_source('t', filter => 'v > 5', watch => '{v}')");
    client
        .batch_execute(
            "ALTER TABLE t RENAME COLUMN v TO amount; ALTER TABLE t RENAME TO goods;
             CREATE SCHEMA shop; ALTER TABLE goods SET SCHEMA shop;
             ALTER INDEX shop.t_v RENAME TO goods_amount",
        )
        .unwrap();
    client.batch_execute("UPDATE shop.goods SET amount = 11").unwrap();
    let event = next_change(&mut stream);
    assert_eq!(event.prev, Some(json!({"id": 1, "amount": 10, "w": "one"})));
    assert_eq!(event.data, Some(json!({"id": 1, "amount": 11, "w": "one"})));
    assert_eq!(next_change(&mut set).kind, Kind::Add);
    assert_eq!(next_change(&mut filtered).kind, Kind::Update);
}

#[test]
fn added_and_dropped_columns_come_and_go_without_a_break() {
    let (cluster, mut client) = served();
    let mut stream = open(&cluster, &mut client, "event_source('t')");
    client.batch_execute("ALTER TABLE t ADD x int DEFAULT 7; UPDATE t SET v = 11").unwrap();
    client.batch_execute("ALTER TABLE t DROP w; UPDATE t SET v = 12").unwrap();
    client.batch_execute("ALTER TABLE t ALTER x TYPE int, ALTER x SET DEFAULT 8").unwrap();
    client.batch_execute("UPDATE t SET x = 9").unwrap();
    assert_eq!(next_change(&mut stream).data, Some(json!({"id": 1, "v": 11, "w": "one", "x": 7})));
    let event = next_change(&mut stream);
    assert_eq!(event.prev, Some(json!({"id": 1, "v": 11, "x": 7})));
    assert_eq!(event.data, Some(json!({"id": 1, "v": 12, "x": 7})));
    assert_eq!(next_change(&mut stream).data, Some(json!({"id": 1, "v": 12, "x": 9})));
}

#[test]
fn a_type_that_needs_no_rewrite_goes_on() {
    let (cluster, mut client) = served();
    client.batch_execute("ALTER TABLE t ADD s varchar(10)").unwrap();
    let mut stream = open(&cluster, &mut client, "event_source('t', filter => 's = ''long''')");
    client.batch_execute("ALTER TABLE t ALTER s TYPE text; UPDATE t SET s = 'long'").unwrap();
    assert_eq!(next_change(&mut stream).kind, Kind::Add);
}

#[test]
fn what_happened_before_a_change_of_the_schema_is_read_with_the_names_of_then() {
    let (_cluster, mut client) = served();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("UPDATE t SET v = 11").unwrap();
    client
        .batch_execute(
            "ALTER TABLE t RENAME v TO amount; ALTER TABLE t DROP w;
             ALTER TABLE t ADD x text; UPDATE t SET amount = 12; ALTER TABLE t RENAME TO goods",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(events[0].prev, Some(json!({"id": 1, "v": 10, "w": "one"})));
    assert_eq!(events[0].data, Some(json!({"id": 1, "v": 11, "w": "one"})));
    assert_eq!(events[1].data, Some(json!({"id": 1, "amount": 12, "x": null})));
}

/// Follows `t` on every wire, runs the statements and expects all streams to end with
/// `schema_changed`, behind the one change before.
fn breaks(statements: &str) -> (Cluster, Client) {
    let (cluster, mut client) = served();
    let token = mint(&mut client, "event_source('t')");
    let mut lines = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    let sse = || Request::new(&token).over(Form::Sse, Version::Http2);
    let mut events = Stream::open(cluster.http(), &sse()).unwrap();
    let mut v10 = V10Stream::open(cluster.http(), Version::Http2, &token, &token, None).unwrap();
    client.batch_execute("UPDATE t SET v = 11 WHERE id = 1").unwrap();
    client.batch_execute(statements).unwrap();
    assert_eq!(ending(&mut lines), ("schema_changed".to_owned(), 1), "{statements}");
    let seen = next_change(&mut events).cursor;
    assert_eq!(ending(&mut events), ("schema_changed".to_owned(), 0), "{statements}");
    assert_eq!(ending_v10(&mut v10), "invalid_request", "{statements}");

    // From its own start the old token still gets what was before.
    let mut again = Stream::open(cluster.http(), &sse()).unwrap();
    assert_eq!(ending(&mut again), ("schema_changed".to_owned(), 1), "{statements}");
    // A browser that resumes behind the last event is refused, so that it stops.
    let resumed = Stream::open(cluster.http(), &sse().after(seen)).map(drop);
    assert!(resumed.is_err(), "a stream that could only end was opened: {statements}");

    let page = sql::event_page(&mut client, &token, None, 100, &[]).unwrap();
    assert_eq!(page.events.iter().filter(|e| e.kind.is_change()).count(), 1, "{statements}");
    assert_eq!(page.events.last().unwrap().error.as_ref().unwrap().code, "schema_changed");
    refused(client.query("SELECT event_page($1, cursor => $2)", &[&token, &page.cursor]));

    // A new token starts behind it.
    let mut fresh = open(&cluster, &mut client, "event_source('t')");
    client.batch_execute("DELETE FROM t WHERE id = 1").unwrap();
    assert_eq!(next_change(&mut fresh).kind, Kind::Remove);
    (cluster, client)
}

#[test]
fn a_rewritten_column_ends_the_streams_with_schema_changed() {
    let _ = breaks("ALTER TABLE t ALTER v TYPE bigint USING v * 100");
}

#[test]
fn a_column_with_a_volatile_default_ends_the_streams_with_schema_changed() {
    let _ = breaks("ALTER TABLE t ADD u uuid DEFAULT gen_random_uuid()");
}

#[test]
fn another_primary_key_ends_the_streams_with_schema_changed() {
    let _ = breaks("ALTER TABLE t ADD UNIQUE (v), DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (v)");
}

#[test]
fn a_primary_key_that_is_dropped_ends_the_streams_with_schema_changed() {
    let _ = breaks("ALTER TABLE t DROP CONSTRAINT t_pkey");
}

#[test]
fn a_break_that_is_rolled_back_is_none() {
    let (cluster, mut client) = served();
    let mut stream = open(&cluster, &mut client, "event_source('t')");
    client
        .batch_execute(
            "BEGIN; SAVEPOINT s; ALTER TABLE t ALTER v TYPE bigint; ROLLBACK TO s;
             UPDATE t SET v = 11; COMMIT; BEGIN; ALTER TABLE t DROP CONSTRAINT t_pkey; ROLLBACK",
        )
        .unwrap();
    assert_eq!(next_change(&mut stream).data, Some(json!({"id": 1, "v": 11, "w": "one"})));
    client.batch_execute("UPDATE t SET v = 12").unwrap();
    assert_eq!(next_change(&mut stream).data, Some(json!({"id": 1, "v": 12, "w": "one"})));
}

#[test]
fn the_same_primary_key_on_another_index_goes_on() {
    let (cluster, mut client) = served();
    let mut stream = open(&cluster, &mut client, "event_source('t')");
    let mut row = open(&cluster, &mut client, "event_source('t', key => 1)");
    client
        .batch_execute(
            "CREATE UNIQUE INDEX fresh ON t (id);
             ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY USING INDEX fresh;
             ALTER TABLE t RENAME id TO number; UPDATE t SET v = 11",
        )
        .unwrap();
    assert_eq!(next_change(&mut stream).key, Some(1.into()));
    assert_eq!(next_change(&mut row).key, Some(1.into()));
}

#[test]
fn a_rewrite_in_the_middle_of_a_transaction_hides_nothing_before_and_tells_nothing_wrong_after() {
    let (cluster, mut client) = served();
    let mut stream = open(&cluster, &mut client, "event_source('t')");
    client
        .batch_execute(
            "BEGIN; INSERT INTO t VALUES (2, 20, 'two'), (3, 30, 'three');
             ALTER TABLE t ALTER v TYPE text; UPDATE t SET w = 'later' WHERE id = 2;
             DELETE FROM t WHERE id = 3; COMMIT",
        )
        .unwrap();
    let (code, changes) = ending(&mut stream);
    assert_eq!(code, "schema_changed");
    assert_eq!(changes, 0, "what the transaction did to these rows ended behind the break");
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("DELETE FROM t").unwrap();
    let mut told = story(&mut client, &token);
    told.sort();
    assert_eq!(told, ["remove 1", "remove 2"]);
}

#[test]
fn a_rewrite_of_a_partitioned_table_is_a_break_too() {
    let (cluster, mut client) = served();
    client
        .batch_execute(
            "CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
             CREATE TABLE p_0 PARTITION OF p FOR VALUES FROM (0) TO (10);
             CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (10) TO (20);
             INSERT INTO p VALUES (1, 1), (11, 11); SELECT event_source.capture('p')",
        )
        .unwrap();
    let mut stream = open(&cluster, &mut client, "event_source('p')");
    client.batch_execute("ALTER TABLE p ALTER v TYPE bigint").unwrap();
    assert_eq!(ending(&mut stream), ("schema_changed".to_owned(), 0));
    let mut fresh = open(&cluster, &mut client, "event_source('p')");
    client.batch_execute("UPDATE p SET v = 2 WHERE id = 1").unwrap();
    assert_eq!(next_change(&mut fresh).kind, Kind::Update);
}

#[test]
fn a_huge_transaction_with_a_rewrite_ends_the_streams_before_its_rows() {
    let (cluster, mut client) = served();
    let mut stream = open(&cluster, &mut client, "event_source('t')");
    client
        .batch_execute(
            "BEGIN; ALTER TABLE t ALTER v TYPE bigint;
             INSERT INTO t SELECT n, n, 'row' FROM generate_series(100, 20100) n; COMMIT",
        )
        .unwrap();
    assert_eq!(ending(&mut stream), ("schema_changed".to_owned(), 0));
}

#[test]
fn a_column_that_a_source_looks_at_ends_it_when_it_is_dropped() {
    let (cluster, mut client) = served();
    client.batch_execute("CREATE INDEX t_w ON t (w)").unwrap();
    let mut filtered = open(&cluster, &mut client, "event_source('t', filter => 'w = ''x''')");
    let mut watching = open(&cluster, &mut client, "event_source('t', watch => '{w}')");
    let mut set = open(&cluster, &mut client, "event_source('t_w', terms => ARRAY['x'])");
    let mut other = open(&cluster, &mut client, "event_source('t')");
    client.batch_execute("ALTER TABLE t DROP w").unwrap();
    assert_eq!(ending(&mut filtered), ("schema_changed".to_owned(), 0));
    assert_eq!(ending(&mut watching), ("schema_changed".to_owned(), 0));
    assert_eq!(ending(&mut set), ("source_gone".to_owned(), 0));
    client.batch_execute("UPDATE t SET v = 11").unwrap();
    assert_eq!(next_change(&mut other).data, Some(json!({"id": 1, "v": 11})));
}

#[test]
fn an_index_that_is_made_again_goes_on_and_one_of_other_columns_ends_its_sources() {
    let (cluster, mut client) = served();
    let mut same = open(&cluster, &mut client, "event_source('t_v', terms => ARRAY[11])");
    client
        .batch_execute("BEGIN; DROP INDEX t_v; CREATE INDEX t_v ON t (v); COMMIT; REINDEX TABLE t")
        .unwrap();
    client.batch_execute("REINDEX INDEX CONCURRENTLY t_v").unwrap();
    client.batch_execute("UPDATE t SET v = 11").unwrap();
    assert_eq!(next_change(&mut same).kind, Kind::Add);

    let token = mint(&mut client, "event_source('t_v', terms => ARRAY[11])");
    client.batch_execute("BEGIN; DROP INDEX t_v; CREATE INDEX t_v ON t (id); COMMIT").unwrap();
    assert_eq!(ending(&mut same), ("schema_changed".to_owned(), 0));
    let said = refused(client.query("SELECT event_page($1)", &[&token]));
    assert!(said.hint.contains("new"), "{said:?}");
}

#[test]
fn a_table_that_is_dropped_or_released_ends_its_streams_though_nothing_else_is_committed() {
    let (cluster, mut client) = served();
    client
        .batch_execute("CREATE TABLE u (id int PRIMARY KEY); SELECT event_source.capture('u')")
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    let mut v10 = V10Stream::open(cluster.http(), Version::Http2, &token, &token, None).unwrap();
    let mut dropped = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    let mut released = open(&cluster, &mut client, "event_source('u')");
    client.batch_execute("DROP TABLE t").unwrap();
    assert_eq!(ending(&mut dropped), ("source_gone".to_owned(), 0));
    assert!(!ending_v10(&mut v10).is_empty());
    client.batch_execute("SELECT event_source.release('u')").unwrap();
    assert_eq!(ending(&mut released), ("source_gone".to_owned(), 0));
}

#[test]
fn a_table_of_the_same_name_is_another_one() {
    let (cluster, mut client) = served();
    let mut stream = open(&cluster, &mut client, "event_source('t')");
    client
        .batch_execute(
            "BEGIN; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY);
             SELECT event_source.capture('t'); INSERT INTO t VALUES (1); COMMIT",
        )
        .unwrap();
    assert_eq!(ending(&mut stream), ("source_gone".to_owned(), 0));
}

#[test]
fn a_dropped_extension_ends_all_streams_and_a_new_one_is_served() {
    let (cluster, mut client) = served();
    let token = mint(&mut client, "event_source('t')");
    let mut lines = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    let mut v10 = V10Stream::open(cluster.http(), Version::Http2, &token, &token, None).unwrap();
    client.batch_execute("DROP EXTENSION event_source CASCADE").unwrap();
    assert_eq!(ending(&mut lines), ("source_gone".to_owned(), 0));
    assert!(!ending_v10(&mut v10).is_empty());
    client.batch_execute("INSERT INTO t VALUES (2, 20, 'two')").unwrap();
    client
        .batch_execute("CREATE EXTENSION event_source; SELECT event_source.capture('t')")
        .unwrap();
    let _ = cluster.serving();
    let mut fresh = open(&cluster, &mut client, "event_source('t')");
    client.batch_execute("DELETE FROM t WHERE id = 2").unwrap();
    assert_eq!(next_change(&mut fresh).kind, Kind::Remove);
}
