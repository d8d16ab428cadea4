//! Rows and tail: a thousand times, the rows that a statement saw and the events behind its token
//! make up the table, whatever was being committed meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use event_source_tests::Cluster;
use event_source_tests::consume::Kind;
use event_source_tests::follow::drain;
use postgres::Client;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

const ROUNDS: usize = 20;
const MINTS: usize = 50;
const WRITERS: u64 = 4;
const ROWS: i32 = 60;

type Rows = BTreeMap<i64, Value>;

/// Mints a token and takes the rows in one statement.
fn rows_and_token(client: &mut Client) -> (Rows, String) {
    let found = client
        .query(
            "SELECT s.token, t.id, t.v FROM event_source('t') AS s(token) LEFT JOIN t ON true",
            &[],
        )
        .unwrap();
    let token = found[0].get(0);
    let rows = found
        .iter()
        .filter_map(|row| Some((row.get::<_, Option<i32>>(1)?, row.get::<_, i32>(2))))
        .map(|(id, v)| (i64::from(id), json!({"id": id, "v": v})))
        .collect();
    (rows, token)
}

/// Applies the tail of a token to its rows; every event has to fit what was there.
fn apply(client: &mut Client, mut rows: Rows, token: &str) -> Rows {
    for event in drain(client, token, None) {
        let key = event.key.as_ref().and_then(Value::as_i64).unwrap();
        let data = event.data.clone().unwrap();
        let before = match event.kind {
            Kind::Remove => rows.remove(&key),
            _ => rows.insert(key, data),
        };
        assert_eq!(event.kind == Kind::Add, before.is_none(), "repeated or missed: {event:?}");
        assert_eq!(before, event.prev, "another image than the one rebuilt: {event:?}");
    }
    rows
}

/// Short transactions over few rows, so that many are committing whenever a token is minted.
fn write(cluster: &Cluster, seed: u64, stop: &AtomicBool) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut client = cluster.connect();
    while !stop.load(Ordering::Relaxed) {
        let (one, two) = (random.random_range(0..ROWS), random.random_range(0..ROWS));
        let (low, high) = (one.min(two), one.max(two));
        let v = random.random_range(0..1_000_000);
        let change = match random.random_range(0..4) {
            0 => format!("DELETE FROM t WHERE id = {high}"),
            1 => format!("UPDATE t SET v = {v} WHERE id IN ({low}, {high})"),
            _ => {
                format!("INSERT INTO t VALUES ({low}, {v}) ON CONFLICT (id) DO UPDATE SET v = {v}")
            }
        };
        let end = if random.random_bool(0.1) { "ROLLBACK" } else { "COMMIT" };
        match client.batch_execute(&format!("BEGIN; {change}; {end}")) {
            Ok(()) => {}
            // Two updates of the same two rows may meet in different orders; the victim starts over.
            Err(e) if e.code().is_some_and(|code| code.code() == "40P01") => {
                client.batch_execute("ROLLBACK").unwrap();
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn rows_and_tail_make_up_the_table_a_thousand_times() {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v int); SELECT event_source.capture('t')",
        )
        .unwrap();
    // Held open all along: it must neither delay nor disturb.
    let mut idle = cluster.connect();
    idle.batch_execute("BEGIN; INSERT INTO t VALUES (-1, 0)").unwrap();
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let minted: Vec<(Rows, String)> = std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (cluster, stop) = (&cluster, &stop);
                scope.spawn(move || write(cluster, round as u64 * WRITERS + writer, stop));
            }
            let minted = (0..MINTS).map(|_| rows_and_token(&mut client)).collect();
            stop.store(true, Ordering::Relaxed);
            minted
        });
        let (table, _) = rows_and_token(&mut client);
        for (at, (rows, token)) in minted.into_iter().enumerate() {
            let rebuilt = apply(&mut client, rows, &token);
            assert_eq!(rebuilt, table, "round {round}, token {at}");
        }
    }
    idle.batch_execute("ROLLBACK").unwrap();
}
