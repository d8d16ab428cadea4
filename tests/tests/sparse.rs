//! A source of which little is seen, on a table that is written all the time.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use event_source_model::position::Cursor;
use event_source_tests::consume::latency::pause_until;
use event_source_tests::consume::{Failed, Kind, Request, Stream};
use event_source_tests::follow::mint;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, SetAtEnd};

/// An hour is 240 of the default's 15 seconds; a little more, so that what is read again is below one percent.
const INTERVAL: Duration = Duration::from_millis(100);
const INTERVALS: usize = 320;
/// Read again is at most what was written within the last of them, the one that was cut among them.
const LAST: usize = 3;
const WRITERS: u64 = 3;
/// Between two changes of a writer.
const PACE: Duration = Duration::from_millis(3);

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
    let (cursor, seen, at_cut) = thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut client = cluster.connect();
                while !done.load(SeqCst) {
                    let next = Instant::now() + PACE;
                    client.execute("INSERT INTO t (wanted) VALUES (false)", &[]).unwrap();
                    written.fetch_add(1, SeqCst);
                    pause_until(next);
                }
            });
        }
        let _ends = SetAtEnd(&done);
        let mut cursor = None;
        // How much had been written when each status came.
        let mut seen = Vec::new();
        while seen.len() < INTERVALS {
            match stream.next(LONG) {
                Ok(Some(event)) => {
                    assert_eq!(event.kind, Kind::Status);
                    cursor = event.cursor;
                    seen.push(written.load(SeqCst));
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
        (cursor.unwrap(), seen, written.load(SeqCst))
    });
    let from = Cursor::decode(&cursor).unwrap().position.txn_ts;
    let count = "SELECT count(*), count(*) FILTER (WHERE txn_ts > $1) FROM event_source.changes";
    let row = client.query_one(count, &[&from]).unwrap();
    let (all, behind): (i64, i64) = (row.get(0), row.get(1));
    println!("{behind} of {all} changes are read again");
    let written = written.load(SeqCst);
    assert!(all as u64 >= written && all > 10_000, "only {all} changes");
    // Those that were written after the cut are new.
    let again = (behind as u64).saturating_sub(written - at_cut);
    let last = at_cut - seen[INTERVALS - LAST];
    assert!(
        again <= last,
        "{again} of {all} changes are read again; in the last intervals were {last}"
    );
    // As long as no interval is longer than others, that is less than one percent.
    assert!(behind * 20 < all, "{behind} of {all} changes are read again");
    // And nothing of its own is lost by that.
    let mut resumed = Stream::open(cluster.http(), &request.after(Some(cursor))).unwrap();
    client.execute("INSERT INTO t (wanted) VALUES (true)", &[]).unwrap();
    assert_eq!(resumed.next_change(LONG).data.unwrap()["wanted"], true);
}
