//! Years of uptime in a short time: at the smallest size of the log, writers go through the ring of
//! segments again and again.
//!
//! `ENDURANCE_CHANGES` is how many changes are written; the twenty million of `make endurance` are a
//! day of two hundred changes a second. With the few of `make test` the ring turns a few times, and
//! no time is judged.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod counters;

use std::thread;
use std::time::{Duration, Instant};

use counters::{LONG, Progress};
use event_source_tests::consume::latency::pause_until;
use event_source_tests::consume::sql;
use event_source_tests::follow::mint;
use event_source_tests::{Cluster, SetAtEnd, wait_until};
use postgres::Client;

const FEW: i64 = 300_000;
const EARLY: i64 = 200_000;
const MOST_BYTES: i64 = 16 * 1024 * 1024;
/// `event_source.tail_memory` as it comes, and as much for everything else.
const MOST_MEMORY: u64 = 128 * 1024 * 1024;

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
fn a_log_of_the_smallest_size_is_written_for_a_long_time() {
    let wanted = std::env::var("ENDURANCE_CHANGES").map_or(FEW, |n| n.parse().unwrap());
    let cluster = Cluster::options().conf("event_source.max_log_size", "16MB").start();
    let mut client = cluster.connect();
    counters::create(&mut client);
    let token = mint(&mut client, "event_source('counter')");
    let (worker, server) = cluster.serving();
    let progress = Progress::default();

    let began = Instant::now();
    let (at_first, at_last, largest) = thread::scope(|scope| {
        let ends = SetAtEnd(&progress.over);
        counters::start(scope, &cluster, &token, &progress);
        let largest = scope.spawn(|| largest(&mut cluster.connect(), &progress));
        // So that both times are of a log that has gone round.
        progress.reach(EARLY);
        let at_first = page_time(&mut client, "first");
        progress.reach(wanted);
        let at_last = page_time(&mut client, "last");
        drop(ends);
        (at_first, at_last, largest.join().unwrap())
    });

    let sum = number(&mut client, "SELECT sum(v)::bigint FROM counter");
    assert_eq!(sum, progress.written(), "the followers saw what was written, and nothing else");
    let dead = "SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_all_tables
                WHERE schemaname = 'event_source'";
    client.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
    let dead = number(&mut client, dead);
    let [worker, server] = [worker, server].map(|process| process.own_memory().unwrap());
    println!(
        "{sum} changes in {:?}; the log has {} KB at most; {dead} dead rows; a page of 100 events \
         takes {at_first:?} at first and {at_last:?} at last; memory: worker {} MB, server {} MB",
        began.elapsed(),
        largest >> 10,
        worker >> 20,
        server >> 20,
    );
    assert!(worker.max(server) <= MOST_MEMORY, "they hold more than they may");
    assert_eq!(dead, 0, "nothing in the log is updated or deleted");
    wait_until("the log to be within its size", LONG, || bytes(&mut client) <= MOST_BYTES);
    if wanted > FEW {
        assert!(largest <= MOST_BYTES, "the log grew to {} KB", largest >> 10);
        assert!(at_last < at_first.mul_f64(1.1), "pages became slower");
    }
}

/// The most that the log takes until it is over.
fn largest(client: &mut Client, progress: &Progress) -> i64 {
    let mut largest = 0;
    while !progress.is_over() {
        largest = largest.max(bytes(client));
        pause_until(Instant::now() + Duration::from_millis(50));
    }
    largest
}

fn bytes(client: &mut Client) -> i64 {
    number(client, "SELECT log_bytes FROM event_source.status")
}

/// How long a page of a hundred events takes, with as many behind them.
fn page_time(client: &mut Client, table: &str) -> Duration {
    const TIMES: usize = 1000;
    client
        .batch_execute(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY); SELECT event_source.capture('{table}')"
        ))
        .unwrap();
    let token = mint(client, &format!("event_source('{table}')"));
    for n in 0..20 {
        let insert =
            format!("INSERT INTO {table} SELECT * FROM generate_series({n} * 10, {n} * 10 + 9)");
        client.batch_execute(&insert).unwrap();
    }
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            let page = sql::event_page(client, &token, None, 100, &[]).unwrap();
            assert_eq!(page.events.len(), 100);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[TIMES / 2]
}

fn number(client: &mut Client, query: &str) -> i64 {
    client.query_one(query, &[]).unwrap().get(0)
}
