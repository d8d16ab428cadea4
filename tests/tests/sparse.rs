//! A source of which little is seen, on a table that is written all the time.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use event_source_model::position::Cursor;
use event_source_tests::consume::{Failed, Kind, Request, Stream};
use event_source_tests::follow::mint;
use event_source_tests::{Cluster, SetAtEnd};

/// An hour is 240 of the default's 15 seconds.
const INTERVAL: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_millis(240 * 100);
const WRITERS: u64 = 3;

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what is promised")]
fn a_quiet_source_resumed_after_an_hour_reads_less_than_one_percent_of_what_was_not_its_own() {
    let interval = format!("{}ms", INTERVAL.as_millis());
    let cluster = Cluster::options().conf("event_source.status_interval", interval).start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigserial PRIMARY KEY, wanted bool);
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t', filter => 'wanted')");
    let request = Request::new(&token);
    let mut stream = Stream::open(cluster.http(), &request).unwrap();
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let cursor = thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut client = cluster.connect();
                while !done.load(SeqCst) {
                    client.execute("INSERT INTO t (wanted) VALUES (false)", &[]).unwrap();
                    written.fetch_add(1, SeqCst);
                }
            });
        }
        let _ends = SetAtEnd(&done);
        let begun = Instant::now();
        let mut cursor = None;
        while begun.elapsed() < HOUR {
            match stream.next(HOUR) {
                Ok(Some(event)) => {
                    assert_eq!(event.kind, Kind::Status);
                    cursor = event.cursor;
                }
                other => panic!("{other:?}"),
            }
        }
        // The connection is lost in the middle of an interval.
        match stream.next(INTERVAL / 2) {
            Ok(Some(event)) => cursor = event.cursor,
            Err(Failed::TimedOut(_)) => {}
            other => panic!("{other:?}"),
        }
        drop(stream);
        cursor.unwrap()
    });
    let from = Cursor::decode(&cursor).unwrap().position.txn_ts;
    let count = "SELECT count(*), count(*) FILTER (WHERE txn_ts > $1) FROM event_source.changes";
    let row = client.query_one(count, &[&from]).unwrap();
    let (all, behind): (i64, i64) = (row.get(0), row.get(1));
    println!("{behind} of {all} changes are read again");
    assert!(all as u64 >= written.load(SeqCst) && all > 10_000, "only {all} changes");
    assert!(behind * 100 < all, "{behind} of {all} changes are read again");
    // And nothing of its own is lost by that.
    let mut resumed = Stream::open(cluster.http(), &request.after(Some(cursor))).unwrap();
    client.execute("INSERT INTO t (wanted) VALUES (true)", &[]).unwrap();
    assert_eq!(resumed.next_change(HOUR).data.unwrap()["wanted"], true);
}
