//! One session of the load, and what it knows: which of its commits were acknowledged.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use postgres::Client;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// Rows of `t`: few enough that the sessions meet.
const KEYS: i32 = 3000;

/// What a session knows when its server died.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Its last commit that was acknowledged with `synchronous_commit` on.
    pub durable: i64,
    /// Its last commit that was acknowledged at all.
    pub acknowledged: i64,
    /// The last one that it tried.
    pub tried: i64,
}

/// What all sessions of a round share.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub committed: AtomicU64,
    pub stop: AtomicBool,
    pub pids: Vec<AtomicI32>,
    /// Whether the server takes PREPARE TRANSACTION of what is captured.
    pub two_phase: bool,
}

/// Writes until the server dies. Each transaction counts its session's row of `ledger` up.
pub(crate) fn write(
    mut client: Client,
    session: usize,
    first: i64,
    seed: u64,
    round: &Round,
) -> Known {
    let mut random = SmallRng::seed_from_u64(seed.wrapping_mul(100).wrapping_add(session as u64));
    let mut known = Known { durable: first - 1, acknowledged: first - 1, tried: first - 1 };
    while !round.stop.load(Ordering::Relaxed) {
        known.tried += 1;
        let durable: bool = random.random();
        let statements = transaction(&mut random, session, known.tried, durable);
        // Always drawn: the statements are the same whether two-phase commit is on or not.
        let prepared = random.random_ratio(1, 12) && round.two_phase;
        let gid = format!("crash-{session}-{}", known.tried);
        let written = client.batch_execute(&statements).and_then(|()| {
            if !prepared {
                return client.batch_execute("COMMIT");
            }
            client.batch_execute(&format!("PREPARE TRANSACTION '{gid}'"))?;
            client.batch_execute(&format!("COMMIT PREPARED '{gid}'"))
        });
        match written {
            Ok(()) => {
                known.acknowledged = known.tried;
                if durable {
                    known.durable = known.tried;
                }
                round.committed.fetch_add(1, Ordering::Relaxed);
            }
            // A circle of waiting sessions, or two that gave a row the same key: the number is used up,
            // which does no harm.
            Err(e) if e.code().is_some_and(|code| ["40P01", "23505"].contains(&code.code())) => {
                if client.batch_execute("ROLLBACK").is_err() {
                    break;
                }
            }
            // Class 57 is what the postmaster says to those whom it throws out.
            Err(e) => {
                let class = e.code().map_or("57", |code| &code.code()[..2]);
                assert_eq!(class, "57", "{e:?} in {statements}");
                break;
            }
        }
    }
    known
}

fn transaction(random: &mut SmallRng, session: usize, number: i64, durable: bool) -> String {
    let mut sql = String::from("BEGIN;");
    if !durable {
        sql.push_str("SET LOCAL synchronous_commit = off;");
    }
    for _ in 0..random.random_range(1..=2) {
        let key = random.random_range(1..=KEYS);
        let statement = match random.random_range(0..400) {
            0..150 => format!(
                "INSERT INTO t VALUES ({key}, {session}, {number}) ON CONFLICT (id) DO UPDATE SET n = excluded.n;"
            ),
            150..250 => format!("UPDATE t SET n = {number} WHERE id BETWEEN {key} AND {key} + 3;"),
            250..310 => format!("DELETE FROM t WHERE id BETWEEN {key} AND {key} + 1;"),
            310..340 => format!(
                "UPDATE t SET id = {KEYS} + {key} WHERE id = {key} AND NOT EXISTS (SELECT FROM t WHERE id = {KEYS} + {key});
                 DELETE FROM t WHERE id = {KEYS} + {key} + 1;"
            ),
            340..380 => format!(
                "SAVEPOINT s; DELETE FROM t WHERE id = {key}; ROLLBACK TO s; UPDATE t SET n = n + 1 WHERE id = {key};"
            ),
            // More than a buffer: change rows under the transaction, before it has a stamp.
            380..399 => format!(
                "INSERT INTO t SELECT n, {session}, {number} FROM generate_series({key}, {key} + 250) n \
                 ON CONFLICT (id) DO UPDATE SET n = excluded.n;"
            ),
            // More than is sorted in memory.
            _ => format!(
                "DELETE FROM t WHERE id > 100000 AND session = {session};
                 INSERT INTO t SELECT 100000 * (1 + {session}) + n, {session}, {number} FROM generate_series(1, 6000) n;
                 UPDATE t SET n = n + 1 WHERE id > 100000 AND session = {session};"
            ),
        };
        sql.push_str(&statement);
    }
    sql.push_str(&format!("UPDATE ledger SET n = {number} WHERE session = {session}"));
    sql
}
