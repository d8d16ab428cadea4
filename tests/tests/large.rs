//! Transactions of many rows: memory stays bounded in every process, and no other stream waits.
//!
//! `LARGE_ROWS` is how many rows each transaction changes; with the five million of `make large` the
//! limits are those that the documentation promises; with the few of `make test` what others wait is compared
//! with what the large one takes.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use event_source_tests::consume::latency::{Arrival, Spread, arrivals};
use event_source_tests::consume::{Request, Stream};
use event_source_tests::follow::mint;
use event_source_tests::memory::peaks;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Pid, SetAtEnd};

const FEW: i64 = 100_000;
const MOST_MEMORY: u64 = 200 * 1024 * 1024;
const MOST_DELAY: Duration = Duration::from_millis(50);

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
fn a_transaction_of_many_rows_needs_little_memory_and_delays_no_other_stream() {
    let rows = std::env::var("LARGE_ROWS").map_or(FEW, |rows| rows.parse().unwrap());
    let cluster = Cluster::options().conf("event_source.max_log_size", "20GB").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE large (id bigint PRIMARY KEY, v int NOT NULL, note text);
             SELECT event_source.capture('large')",
        )
        .unwrap();
    for (name, statement) in [
        (
            "insert",
            "INSERT INTO large SELECT n, 0, 'row ' || n FROM generate_series(1, $1::bigint) n",
        ),
        ("update", "UPDATE large SET v = v + 1 WHERE id <= $1"),
        ("delete", "DELETE FROM large WHERE id <= $1"),
    ] {
        client
            .batch_execute(&format!(
                "CREATE TABLE beside_{name} (id int PRIMARY KEY);
                 SELECT event_source.capture('beside_{name}')"
            ))
            .unwrap();
        let token = mint(&mut client, "event_source('large')");
        let (worker, server) = cluster.serving();
        let backend = Pid(client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0));
        let told = AtomicBool::new(false);
        let ([backend, worker, server], (times, beside)) = peaks([backend, worker, server], || {
            thread::scope(|scope| {
                let paced = scope.spawn(|| {
                    arrivals(&cluster, &format!("beside_{name}"), |_| !told.load(Ordering::Relaxed))
                });
                let follower = scope.spawn(|| follow(cluster.http(), token, rows));
                // Also when the writer panics, or the others would wait for ever.
                let ends = SetAtEnd(&told);
                let began = Instant::now();
                let mut transaction = client.transaction().unwrap();
                transaction.execute(statement, &[&rows]).unwrap();
                let committing = Instant::now();
                transaction.commit().unwrap();
                let committed = Instant::now();
                let last = follower.join();
                drop(ends);
                let beside = paced.join().unwrap();
                ([began, committing, committed, last.unwrap()], beside)
            })
        });
        let [began, committing, committed, last] = times;
        let within = |from: Instant, to: Instant| spread(&beside, from, to);
        println!(
            "{name} of {rows} rows: {:?}, commit {:?}, told {:?} later; \
             memory: backend {} MB, worker {} MB, server {} MB; \
             other streams while it is written {:?}, commits {:?}, is told {:?}",
            committing - began,
            committed - committing,
            last - committed,
            backend >> 20,
            worker >> 20,
            server >> 20,
            within(began, committing),
            within(committing, committed),
            within(committed, last),
        );
        for (process, peak) in [("backend", backend), ("worker", worker), ("server", server)] {
            assert!(peak < MOST_MEMORY, "{name}: the {process} needs {} MB more", peak >> 20);
        }
        let worst = within(committing, last).expect("something was committed meanwhile").p99;
        // Behind the large transaction they would wait for as long as it takes to be told.
        let whole = last - committing;
        assert!(2 * worst < whole, "{name}: other streams wait {worst:?} of {whole:?}");
        if rows > FEW {
            assert!(worst < MOST_DELAY, "{name}: other streams wait {worst:?}");
        }
    }
}

/// Follows until every row has come once; gives the time of the last one.
fn follow(address: SocketAddr, token: String, rows: i64) -> Instant {
    let mut stream = Stream::open(address, &Request::new(token)).unwrap();
    let mut seen = vec![false; usize::try_from(rows).unwrap()];
    let mut txn_ts = None;
    for _ in 0..rows {
        let event = stream.next_change(LONG);
        assert_eq!(*txn_ts.get_or_insert(event.txn_ts), event.txn_ts, "one transaction");
        let key = event.key.and_then(|key| key.as_u64()).unwrap();
        let seen = &mut seen[usize::try_from(key).unwrap() - 1];
        assert!(!std::mem::replace(seen, true), "{key} comes twice");
    }
    Instant::now()
}

/// How long commits sent between two moments took to arrive; `None` when there was none.
fn spread(beside: &[Arrival], from: Instant, to: Instant) -> Option<Spread> {
    let meanwhile = beside.iter().filter(|arrival| from <= arrival.sent && arrival.sent <= to);
    let times: Vec<Duration> = meanwhile.map(|arrival| arrival.took).collect();
    (!times.is_empty()).then(|| Spread::of(times))
}
