//! The rows of a set and then what happens to them, over one request, wherever it is cut.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod copy;
mod large;

use copy::{Copy, Reader};
use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::{Event, Failed, Feed, Form, Kind, Request, Stream, Version, sql};
use event_source_tests::follow::{mint, served};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Stop, wait_until};
use serde_json::{Value, json};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, w int DEFAULT 0);
     INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 5) n;
     SELECT event_source.capture('t')";

/// What a reader hears up to the end of the snapshot.
fn rows(stream: &mut Stream) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = stream.next(LONG).unwrap().expect("the stream goes on");
        match event.kind {
            Kind::Status if event.snapshot.is_none() => {}
            Kind::Status => {
                assert_eq!(event.snapshot.as_deref(), Some("complete"));
                events.push(event);
                return events;
            }
            Kind::Add => events.push(event),
            _ => panic!("{event:?}"),
        }
    }
}

fn keys(events: &[Event]) -> Vec<Value> {
    events.iter().filter_map(|event| event.key.clone()).collect()
}

#[test]
fn the_rows_come_first_in_the_order_of_their_key_and_then_what_happens() {
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("UPDATE t SET w = 1 WHERE id = 2").unwrap();
    for (form, version) in [(Form::Lines, Version::Http1), (Form::Sse, Version::Http2)] {
        let request = Request::new(&token).with_snapshot().over(form, version);
        let mut stream = Stream::open(cluster.http(), &request).unwrap();
        let events = rows(&mut stream);
        assert_eq!(keys(&events), [1, 2, 3, 4, 5].map(Value::from));
        // The update is of before: in the row, and no event.
        assert_eq!(events[1].data, Some(json!({ "id": 2, "v": "v2", "w": 1 })));
        client.batch_execute("UPDATE t SET w = w + 1 WHERE id = 4").unwrap();
        let event = stream.next_change(LONG);
        assert_eq!((event.kind, event.key), (Kind::Update, Some(json!(4))));
    }
}

#[test]
fn a_reader_cut_behind_any_row_is_given_the_others() {
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    let request = Request::new(&token).with_snapshot();
    let events = rows(&mut Stream::open(cluster.http(), &request).unwrap());
    client.batch_execute("UPDATE t SET w = 7 WHERE id = 1").unwrap();
    for (at, event) in events.iter().enumerate() {
        let resumed = request.clone().after(event.cursor.clone());
        let mut stream = Stream::open(cluster.http(), &resumed).unwrap();
        if event.kind == Kind::Add {
            assert_eq!(keys(&rows(&mut stream)), keys(&events[at + 1..]));
        }
        // Behind the rows, what happened since the first of them was read.
        let update = stream.next_change(LONG);
        assert_eq!((update.kind, update.key), (Kind::Update, Some(json!(1))));
    }
}

#[test]
fn a_feed_gives_the_rows_in_pages_that_nobody_keeps() {
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    let mut feed = Feed::new(cluster.http(), Version::Http2).unwrap();
    let more = json!({ "snapshot": true, "page_size": 2 });
    let mut page = feed.page(&token, None, &more).unwrap();
    let mut got = Vec::new();
    while page.events.last().is_none_or(|event| event.snapshot.is_none()) {
        assert!(page.has_next && page.events.len() == 2, "{page:?}");
        got.extend(keys(&page.events));
        // The same page in SQL, byte for byte the same engine.
        let cursor = page.cursor.clone();
        page = feed.page(&token, Some(&cursor), &json!({ "page_size": 2 })).unwrap();
        let sql = sql::event_page(&mut client, &token, Some(&cursor), 2, &[]).unwrap();
        assert_eq!(sql, page);
    }
    got.extend(keys(&page.events));
    assert_eq!(got, [1, 2, 3, 4, 5].map(Value::from));
    assert!(page.has_next);
    client.batch_execute("DELETE FROM t WHERE id = 3").unwrap();
    let page = feed.page(&token, Some(&page.cursor), &json!({})).unwrap();
    assert_eq!((page.events[0].kind, &page.events[0].key), (Kind::Remove, &Some(json!(3))));
    assert!(!page.has_next);
}

#[test]
fn a_snapshot_is_of_the_set_as_the_token_shows_it() {
    let (cluster, mut client) = served(
        "CREATE TABLE t (a text, b int, c int, d jsonb, PRIMARY KEY (a, b)) PARTITION BY LIST (b);
         CREATE TABLE t_even PARTITION OF t FOR VALUES IN (0, 2);
         CREATE TABLE t_odd (d jsonb, c int, b int NOT NULL, a text NOT NULL);
         ALTER TABLE t ATTACH PARTITION t_odd FOR VALUES IN (1, 3);
         CREATE INDEX t_c ON t (c);
         INSERT INTO t SELECT a, b, b % 2, '{\"x\": 1}'
         FROM unnest('{\"\",\",\",\"a''b\\\"\",ü}'::text[]) a, generate_series(0, 3) b;
         SELECT event_source.capture('t')",
    );
    for (call, wanted) in [
        ("event_source('t')", 16),
        ("event_source('t', filter => 'b > $1', params => '{1}')", 8),
        ("event_source('t_c', terms => '{1}')", 8),
        ("event_source('t_c')", 16),
        ("event_source('t', key => ROW('ü'::text, 3))", 1),
        ("event_source('t', key => ROW('none'::text, 3))", 0),
        ("event_source('t', fields => '{c}', watch => '{c}', types => '{add,update}')", 16),
    ] {
        let token = mint(&mut client, call);
        let request = Request::new(&token).with_snapshot();
        let events = rows(&mut Stream::open(cluster.http(), &request).unwrap());
        let all = keys(&events);
        assert_eq!(all.len(), wanted, "{call}");
        let shown: Vec<_> = events[..wanted].iter().map(|e| e.data.clone().unwrap()).collect();
        if call.contains("fields") {
            assert!(shown.iter().all(|row| row.as_object().unwrap().len() == 1), "{shown:?}");
        }
        // And behind each of these keys, whatever is written in it.
        for (at, event) in events[..wanted].iter().enumerate() {
            let resumed = request.clone().after(event.cursor.clone());
            let mut stream = Stream::open(cluster.http(), &resumed).unwrap();
            assert_eq!(keys(&rows(&mut stream)), all[at + 1..], "{call}");
        }
    }
}

#[test]
fn what_has_no_rows_to_give_says_so() {
    let (cluster, mut client) = served(
        "CREATE TABLE bag (v int); SELECT event_source.capture('bag');
         CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
         SELECT event_source.capture('t')",
    );
    let refused = |request: &Request| match Stream::open(cluster.http(), request).map(drop) {
        Err(Failed::Refused { status, body }) => (status.as_u16(), body["error"].clone()),
        other => panic!("not refused: {other:?}"),
    };
    let bag = mint(&mut client, "event_source('bag')");
    let (status, error) = refused(&Request::new(&bag).with_snapshot());
    assert_eq!((status, &error["code"]), (400, &"invalid_request".into()));
    assert!(error["message"].as_str().unwrap().contains("has no primary key"), "{error}");
    // Fauna's wire has no rows before the events, and a cursor says where they stand.
    let token = mint(&mut client, "event_source('t')");
    let request = Request::new(&token).with_snapshot();
    let events = rows(&mut Stream::open(cluster.http(), &request).unwrap());
    let cursor = events[0].cursor.as_deref();
    let v10 = V10Stream::open(cluster.http(), Version::Http2, &token, &token, cursor).map(drop);
    assert!(matches!(v10, Err(Failed::Refused { .. })), "{v10:?}");
    // A key that this table cannot have ends the stream, and says why.
    client
        .batch_execute("CREATE TABLE d (id date PRIMARY KEY); SELECT event_source.capture('d')")
        .unwrap();
    let other = mint(&mut client, "event_source('d')");
    let mut stream =
        Stream::open(cluster.http(), &Request::new(other).after(events[0].cursor.clone())).unwrap();
    let error = loop {
        let event = stream.next(LONG).unwrap().expect("an error before the end");
        if let Some(error) = event.error {
            break error;
        }
        assert_eq!(event.kind, Kind::Status);
    };
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("invalid_request", "the cursor is of another table")
    );
}

#[test]
fn a_row_that_was_given_out_survives_a_crash_whatever_its_writer_waited_for() {
    let mut cluster = Cluster::options().conf("wal_writer_delay", "10s").start();
    let mut client = cluster.connect();
    client.batch_execute(TABLE).unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    client
        .batch_execute("SET synchronous_commit = off; INSERT INTO t SELECT generate_series(6, 500)")
        .unwrap();
    let request = Request::new(&token).with_snapshot();
    let given = rows(&mut Stream::open(cluster.http(), &request).unwrap()).len() - 1;
    drop(client);
    cluster.restart(Stop::Immediate);
    let row = cluster.connect().query_one("SELECT count(*) FROM t", &[]).unwrap();
    assert_eq!(row.get::<_, i64>(0), given as i64);
}

#[test]
fn a_reader_whose_place_in_the_log_is_gone_is_told_before_it_reads_more_rows() {
    let cluster = Cluster::options().conf("event_source.retention", "2s").start();
    let mut client = cluster.connect();
    client.batch_execute(TABLE).unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t', expires_in => '1 hour')");
    let request = Request::new(&token).with_snapshot();
    let events = rows(&mut Stream::open(cluster.http(), &request).unwrap());
    let resumed = request.after(events[1].cursor.clone());
    wait_until("its place to be let go", 2 * LONG, || {
        client.batch_execute("UPDATE t SET w = w + 1").unwrap();
        match Stream::open(cluster.http(), &resumed).map(drop) {
            Ok(()) => false,
            Err(failed) => {
                assert_eq!(failed.code(), Some("position_gone"));
                true
            }
        }
    });
}

#[test]
fn rows_of_a_locked_table_come_when_it_is_free_and_nobody_else_waits_for_that() {
    let (cluster, mut client) = served(TABLE);
    client
        .batch_execute("CREATE TABLE u (id int PRIMARY KEY); SELECT event_source.capture('u')")
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    let other = mint(&mut client, "event_source('u')");
    let mut other = Stream::open(cluster.http(), &Request::new(other)).unwrap();
    let mut session = cluster.connect();
    let mut locked = session.transaction().unwrap();
    locked.batch_execute("LOCK TABLE t").unwrap();
    let request = Request::new(&token).with_snapshot();
    let mut stream = Stream::open(cluster.http(), &request).unwrap();
    let mut feed = Feed::new(cluster.http(), Version::Http1).unwrap();
    let refused = feed.page(&token, None, &json!({ "snapshot": true })).unwrap_err();
    assert_eq!(refused.code(), Some("unavailable"), "{refused}");
    for id in 1..=20 {
        client.execute("INSERT INTO u VALUES ($1)", &[&id]).unwrap();
        assert_eq!(other.next_change(LONG).key, Some(json!(id)));
    }
    locked.batch_execute("UPDATE t SET w = 5 WHERE id = 5").unwrap();
    locked.commit().unwrap();
    let events = rows(&mut stream);
    assert_eq!(keys(&events), [1, 2, 3, 4, 5].map(Value::from));
    assert_eq!(events[4].data.as_ref().unwrap()["w"], 5);
}

#[test]
fn a_copy_made_under_writers_and_cut_at_random_equals_the_table() {
    let (cluster, mut client) = served(TABLE);
    client
        .batch_execute("INSERT INTO t SELECT n, 'v' || n FROM generate_series(6, 20000) n")
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    for (seed, reader) in [Reader::Lines, Reader::Sse, Reader::Feed].into_iter().enumerate() {
        let copy = Copy::of(&cluster, &token, reader, seed as u64).cut_after(8_000);
        let copy = copy.with_strikes();
        large::beside_writers(&cluster, 20_000, copy);
    }
}
