//! The copy of a table, made while others write it: `SNAPSHOT_ROWS` says how large the largest is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use event_source_tests::follow::mint;
use event_source_tests::memory::most;
use event_source_tests::{Cluster, SetAtEnd, wait_until};
use postgres::error::SqlState;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::LONG;
use super::copy::{Copy, Reader};

const MEGABYTE: u64 = 1024 * 1024;
/// The default of `event_source.tail_memory`, and what a process may hold beside that.
const ALLOWED: u64 = (64 + 64) * MEGABYTE;
const WRITERS: u64 = 2;
/// Rows of the large table unless `SNAPSHOT_ROWS` says otherwise.
const ROWS: i32 = 1_000_000;

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what is promised")]
fn a_large_table_is_copied_under_writers_and_cut_within_the_memory_that_is_allowed() {
    let rows = std::env::var("SNAPSHOT_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, v text, w int DEFAULT 0);
             INSERT INTO t SELECT n, repeat('v', 100) || n FROM generate_series(1, {rows}) n;
             SELECT event_source.capture('t')"
        ))
        .unwrap();
    let (worker, server) = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    let copy = Copy::of(&cluster, &token, Reader::Lines, 1).cut_after(rows.unsigned_abs() / 5);
    let ([worker, server], written) =
        most([worker, server], || beside_writers(&cluster, rows, copy));
    println!(
        "{rows} rows beside {written} transactions: the worker held {} MB, the server {} MB",
        worker / MEGABYTE,
        server / MEGABYTE
    );
    assert!(worker <= ALLOWED && server <= ALLOWED);
}

/// Lets the copy be made while writers insert, update, delete and move rows among the first ids; then
/// it equals the table. Gives the number of their transactions.
pub(crate) fn beside_writers(cluster: &Cluster, rows: i32, mut copy: Copy<'_>) -> u64 {
    let done = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..WRITERS {
            let (done, written) = (&done, &written);
            scope.spawn(move || write(cluster, seed, 2 * rows, done, written));
        }
        let ends = SetAtEnd(&done);
        wait_until("the writers to write", LONG, || written.load(SeqCst) > 20);
        copy.follow(|copy| copy.is_complete);
        drop(ends);
    });
    let mut client = cluster.connect();
    let last = client.query_one("INSERT INTO t SELECT max(id) + 1 FROM t RETURNING id", &[]);
    let last = i64::from(last.unwrap().get::<_, i32>(0));
    copy.follow(|copy| copy.rows.contains_key(&last));
    let table = client.query("SELECT id, v, w FROM t", &[]).unwrap();
    let table =
        table.into_iter().map(|row| (i64::from(row.get::<_, i32>(0)), (row.get(1), row.get(2))));
    let table: BTreeMap<i64, _> = table.collect();
    assert_eq!(copy.rows.len(), table.len());
    let differs = table.iter().find(|(id, row)| copy.rows.get(id) != Some(row));
    assert!(differs.is_none(), "{differs:?}");
    written.load(SeqCst)
}

fn write(cluster: &Cluster, seed: u64, ids: i32, done: &AtomicBool, written: &AtomicU64) {
    let mut client = cluster.connect();
    let mut rng = StdRng::seed_from_u64(seed);
    while !done.load(SeqCst) {
        let (one, other) = (rng.random_range(1..=ids), rng.random_range(1..=ids));
        let statement = match rng.random_range(0..6) {
            0 => "INSERT INTO t VALUES ($1, 'new', $2) ON CONFLICT (id) DO NOTHING",
            1 => "DELETE FROM t WHERE id = $1 OR id = $2",
            2 => "UPDATE t SET id = $1 WHERE id = $2",
            // Enough to fill what the server keeps of the tail.
            3 => "UPDATE t SET v = repeat('w', 2000), w = $2 WHERE id BETWEEN $1 AND $1 + 20",
            _ => "UPDATE t SET v = $2::int WHERE id = $1",
        };
        match client.execute(statement, &[&one, &other]) {
            Ok(_) => drop(written.fetch_add(1, SeqCst)),
            // Two writers met; the order of the rows is nobody's.
            Err(error) => {
                let code = error.code();
                let met = [SqlState::UNIQUE_VIOLATION, SqlState::T_R_DEADLOCK_DETECTED];
                assert!(code.is_some_and(|code| met.contains(code)), "{error}");
            }
        }
    }
}
