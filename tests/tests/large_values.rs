//! Values of a hundred megabytes: an event is whole whatever its size, in a page and in a stream.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::consume::{Event, Kind, Request, Stream};
use event_source_tests::follow::{drain, mint};
use event_source_tests::wait::LONG;
use serde_json::Value;

/// The kind, whether `data` holds the value, whether `prev` does, and the note.
fn seen(event: &Event, value: &str) -> (Kind, bool, bool, Option<i64>) {
    let holds = |row: &Option<Value>| row.as_ref().is_some_and(|row| row["v"] == *value);
    let note = event.data.as_ref().and_then(|row| row["note"].as_i64());
    (event.kind, holds(&event.data), holds(&event.prev), note)
}

#[test]
fn values_of_a_hundred_megabytes_come_whole_by_page_and_by_stream() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text, note int);
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    let _ = cluster.serving();
    let mut live = Stream::open(cluster.http(), &Request::new(&token).with_prev()).unwrap();
    // Nothing that compresses well: it has to be stored as long as it is.
    client
        .batch_execute(
            "INSERT INTO t SELECT 1, string_agg(md5(n::text), ''), 1
             FROM generate_series(1, 3125000) n",
        )
        .unwrap();
    let value: String = client.query_one("SELECT v FROM t", &[]).unwrap().get(0);
    assert_eq!(value.len(), 100_000_000);
    client.batch_execute("UPDATE t SET note = 2").unwrap();
    client.batch_execute("DELETE FROM t").unwrap();

    let wanted = [
        (Kind::Add, true, false, Some(1)),
        (Kind::Update, true, true, Some(2)),
        (Kind::Remove, true, true, Some(2)),
    ];
    let pages = drain(&mut client, &token, None);
    let pages: Vec<_> = pages.iter().map(|event| seen(event, &value)).collect();
    assert_eq!(pages, wanted, "in pages");
    let mut replayed = Stream::open(cluster.http(), &Request::new(&token).with_prev()).unwrap();
    for stream in [&mut live, &mut replayed] {
        let events = [(); 3].map(|()| seen(&stream.next_change(LONG), &value));
        assert_eq!(events, wanted, "in a stream");
    }
}
