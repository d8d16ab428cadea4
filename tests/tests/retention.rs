//! A log that looks after itself: it stays within its age and size, nobody waits for that, and no
//! reader is silently moved on.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod log;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use event_source_tests::consume::latency::pause_until;
use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::{Failed, Kind, Request, Stream, Version, sql};
use event_source_tests::follow::{drain, mint, refused};
use event_source_tests::{Cluster, SetAtEnd, Stop, wait_until};
use log::{LONG, Log, bytes, oldest, write};
use serde_json::Value;

const SMALLEST: &str = "16MB";

#[test]
fn what_is_past_its_age_is_let_go_and_readers_behind_it_are_told() {
    let log = Log::of(Cluster::options().conf("event_source.retention", "2s"));
    let mut client = log.cluster.connect();
    let token = mint(&mut client, "event_source('t')");
    write(&mut client, 3);
    let first = drain(&mut client, &token, None)[0].cursor.clone();
    let before = oldest(&mut client);
    wait_until("the changes to be let go", LONG, || oldest(&mut client) > before + 1);
    wait_until("all of them", LONG, || {
        let raw = client.query_one("SELECT count(*) FROM event_source.changes", &[]).unwrap();
        raw.get::<_, i64>(0) == 0
    });
    for cursor in [None, first.as_deref()] {
        let gone = refused(sql::event_page(&mut client, &token, cursor, 10, &[]));
        assert_eq!(gone.code, "72000", "{gone:?}");
        assert_eq!(gone.message, "the position is too far in the past");
    }
    // What is named as the oldest position left can be read from, with the old token. From here on
    // nothing more is let go.
    log.cluster.set("event_source.retention", "1h");
    log.cluster.reload();
    wait_until("the longer retention", LONG, || {
        let row = client.query_one("SHOW event_source.retention", &[]).unwrap();
        row.get::<_, &str>(0) == "1h"
    });
    let visits = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'event_source keeper'";
    wait_until("no keeper of before to be at work", LONG, || {
        client.query_one(visits, &[]).unwrap().get::<_, i64>(0) == 0
    });
    let Err(Failed::Refused { status, body }) =
        Stream::open(log.cluster.http(), &Request::new(&token)).map(drop)
    else {
        panic!("it opened")
    };
    assert_eq!((status.as_u16(), &body["error"]["code"]), (410, &"position_gone".into()));
    let left = body["error"]["cursor"].as_str().map(str::to_owned);
    assert!(left.is_some(), "{body}");
    write(&mut client, 1);
    assert_eq!(drain(&mut client, &token, left).len(), 1);

    let address = log.cluster.http();
    let mut v10 = V10Stream::open(address, Version::Http2, &token, &token, None).unwrap();
    let said = v10.next(LONG).unwrap().expect("an error comes before the end");
    assert_eq!(said.error.unwrap().code, "invalid_stream_start_time");
    // And it is remembered.
    drop(client);
    let mut cluster = log.cluster;
    cluster.restart(Stop::Immediate);
    let mut client = cluster.connect();
    let gone = refused(sql::event_page(&mut client, &token, None, 10, &[]));
    assert_eq!(gone.message, "the position is too far in the past");
}

#[test]
fn a_log_that_is_written_without_end_stays_within_its_size_and_leaves_no_dead_row() {
    const MOST: i64 = 16 * 1024 * 1024;
    let log = Log::of(Cluster::options().conf("event_source.max_log_size", SMALLEST));
    let mut client = log.cluster.connect();
    let token = mint(&mut client, "event_source('t')");
    let mut stream = Stream::open(log.cluster.http(), &Request::new(&token).with_prev()).unwrap();
    let mut rebuilt: BTreeMap<i64, Value> = BTreeMap::new();
    // About six times what the log may hold. A reader that keeps up notices nothing.
    for _ in 0..40 {
        client
            .batch_execute(
                "INSERT INTO t (v) SELECT repeat(md5(n::text), 40) FROM generate_series(1, 2000) n",
            )
            .unwrap();
        for _ in 0..2000 {
            let event = stream.next_change(LONG);
            assert_eq!(event.kind, Kind::Add);
            let key = event.key.as_ref().and_then(Value::as_i64).unwrap();
            assert!(rebuilt.insert(key, event.data.unwrap()).is_none(), "{key} comes twice");
        }
    }
    assert_eq!(rebuilt.len(), 80_000);
    // The keeper is another process: on a busy machine writers are ahead of it for a moment.
    wait_until("the log to be within its size", LONG, || bytes(&mut client) <= MOST);
    assert!(log.cluster.log().contains("raise event_source.max_log_size"), "the warning");
    let gone = refused(sql::event_page(&mut client, &token, None, 10, &[]));
    assert_eq!(gone.message, "the position is too far in the past");
    client.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
    let dead = "SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_all_tables
                WHERE schemaname = 'event_source'";
    let dead: i64 = client.query_one(dead, &[]).unwrap().get(0);
    assert_eq!(dead, 0, "nothing in the log is updated or deleted");
}

#[test]
fn a_log_that_nobody_serves_is_kept_small_as_well() {
    let options = Cluster::options()
        .conf("event_source.listen", "")
        .conf("event_source.max_log_size", SMALLEST);
    let log = Log::of(options);
    let mut client = log.cluster.connect();
    for _ in 0..20 {
        write(&mut client, 2000);
    }
    wait_until("the log to become small", LONG, || {
        bytes(&mut client) <= 16 * 1024 * 1024 && oldest(&mut client) > 0
    });
}

#[test]
fn who_holds_on_to_a_segment_is_named_and_delays_neither_writers_nor_readers() {
    let log = Log::of(Cluster::options().conf("event_source.retention", "1s"));
    let mut client = log.cluster.connect();
    write(&mut client, 10);
    let mut holder = log.cluster.connect();
    holder.batch_execute("BEGIN; LOCK TABLE event_source.stamp_0 IN ACCESS SHARE MODE").unwrap();
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    wait_until("the holder to be named", LONG, || {
        let row = client.query_one("SELECT log_held_by FROM event_source.status", &[]).unwrap();
        row.get::<_, Option<Vec<i32>>>(0).is_some_and(|pids| pids == [pid])
    });
    let token = mint(&mut client, "event_source('t')");
    write(&mut client, 5);
    assert_eq!(drain(&mut client, &token, None).len(), 5);
    let before = oldest(&mut client);
    holder.batch_execute("COMMIT").unwrap();
    wait_until("the segment to be let go", LONG, || oldest(&mut client) > before);
    wait_until("nobody to be named", LONG, || {
        let row = client.query_one("SELECT log_held_by FROM event_source.status", &[]).unwrap();
        row.get::<_, Option<Vec<i32>>>(0).is_none()
    });
}

#[test]
fn a_transaction_that_is_open_across_many_segments_is_lost_to_nobody() {
    let log = Log::of(Cluster::options().conf("event_source.max_log_size", SMALLEST));
    let mut client = log.cluster.connect();
    // So many that some are in the log already, in a segment that must not be emptied now.
    let mut open = log.cluster.connect();
    open.batch_execute("BEGIN").unwrap();
    write(&mut open, 300);
    for _ in 0..20 {
        write(&mut client, 2000);
    }
    let token = mint(&mut client, "event_source('t')");
    open.batch_execute("COMMIT").unwrap();
    assert_eq!(drain(&mut client, &token, None).len(), 300);
}

#[test]
fn readers_and_writers_go_on_exactly_while_segments_come_and_go_and_the_server_crashes() {
    let options = Cluster::options()
        .conf("event_source.max_log_size", SMALLEST)
        .conf("event_source.retention", "20s");
    let mut log = Log::of(options);
    let mut client = log.cluster.connect();
    let token = mint(&mut client, "event_source('t')");
    drop(client);
    let (mut cursor, mut seen) = (None, 0_usize);
    // How far the reader is behind, in rows. The log holds a few times the most.
    let behind = AtomicUsize::new(0);
    for round in 0..3 {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = log.cluster.connect();
                    while !stop.load(Ordering::Relaxed) {
                        if behind.load(Ordering::Relaxed) > 2000 {
                            pause_until(Instant::now() + Duration::from_millis(1));
                            continue;
                        }
                        behind.fetch_add(50, Ordering::Relaxed);
                        write(&mut client, 50);
                    }
                });
            }
            // Also when the reader panics, or they would fill the disk.
            let _ends = SetAtEnd(&stop);
            let mut client = log.cluster.connect();
            let mut floor_moves = 0;
            let mut floor = oldest(&mut client);
            while floor_moves < 4 {
                let page =
                    sql::event_page(&mut client, &token, cursor.as_deref(), 1000, &[]).unwrap();
                let read = page.events.iter().filter(|e| e.kind.is_change()).count();
                behind.fetch_sub(read, Ordering::Relaxed);
                seen += read;
                cursor = Some(page.cursor);
                let now = oldest(&mut client);
                floor_moves += usize::from(now != floor);
                floor = now;
            }
        });
        if round < 2 {
            log.cluster.kill();
            log.cluster.launch();
        }
    }
    let mut client = log.cluster.connect();
    seen += drain(&mut client, &token, cursor).len();
    let rows: i64 = client.query_one("SELECT count(*) FROM t", &[]).unwrap().get(0);
    assert_eq!(seen, rows as usize, "a miss or a repeat");
}

#[test]
fn neither_the_log_nor_its_cleaning_up_is_seen_by_logical_decoding() {
    let options =
        Cluster::options().conf("wal_level", "logical").conf("event_source.max_log_size", SMALLEST);
    let log = Log::of(options);
    let mut client = log.cluster.connect();
    client
        .batch_execute("SELECT pg_create_logical_replication_slot('s', 'test_decoding')")
        .unwrap();
    let before = oldest(&mut client);
    while oldest(&mut client) == before {
        write(&mut client, 1000);
    }
    let rows: i64 = client.query_one("SELECT count(*) FROM t", &[]).unwrap().get(0);
    let decoded = "SELECT count(*) FILTER (WHERE data LIKE 'table public.t:%'),
                          count(*) FILTER (WHERE data LIKE '%event_source%')
                   FROM pg_logical_slot_get_changes('s', NULL, NULL)";
    let decoded = client.query_one(decoded, &[]).unwrap();
    assert_eq!((decoded.get::<_, i64>(0), decoded.get::<_, i64>(1)), (rows, 0));
}
