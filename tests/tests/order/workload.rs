//! Generated transactions: everything that a transaction can do to a row, from many sessions at
//! once, reproducible up to what the sessions do to each other.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use postgres::Client;
use postgres::error::SqlState;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::table::{KEYS, Shape};

/// What all sessions of a run share.
#[derive(Debug)]
pub(crate) struct Goal {
    /// How many transactions have to commit, all sessions together.
    pub transactions: u64,
    committed: AtomicU64,
    /// A follower has found a fault: no need to write on.
    given_up: AtomicBool,
}

impl Goal {
    pub(crate) fn new(transactions: u64) -> Self {
        Self { transactions, committed: AtomicU64::new(0), given_up: AtomicBool::new(false) }
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    fn is_reached(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || self.committed() >= self.transactions
    }
}

/// One session that writes until the goal is reached.
#[derive(Debug)]
pub(crate) struct Session {
    shape: Shape,
    random: SmallRng,
    sql: String,
}

impl Session {
    pub(crate) fn new(shape: Shape, seed: u64, number: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed.wrapping_mul(1000) + number);
        Self { shape, random, sql: String::new() }
    }

    /// Writes; a transaction that lost against another session is rolled back and not counted.
    pub(crate) fn run(mut self, mut client: Client, goal: &Goal) {
        while !goal.is_reached() {
            let commits = self.transaction();
            match client.batch_execute(&self.sql) {
                Ok(()) if commits => {
                    goal.committed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(()) => {}
                Err(e) => {
                    assert!(e.code().is_some_and(is_a_lost_race), "{e:?} in {}", self.sql);
                    client.batch_execute("ROLLBACK").expect("a failed transaction rolls back");
                }
            }
        }
    }

    /// Composes the next transaction; whether it is meant to commit.
    fn transaction(&mut self) -> bool {
        self.sql.clear();
        self.sql.push_str("BEGIN;");
        if self.chance(20) {
            self.sql.push_str("SET LOCAL synchronous_commit = off;");
        }
        if self.shape != Shape::Plain && self.random.random_ratio(1, 1500) {
            // First, so that it does not wait for others' locks with locks of its own.
            self.sql.push_str("TRUNCATE t;");
        }
        // Ascending, so that sessions rarely wait in a circle; where a trigger makes them do so,
        // PostgreSQL picks a loser.
        let mut places: Vec<i32> =
            (0..self.random.random_range(1..=3)).map(|_| self.key()).collect();
        places.sort_unstable();
        for key in places {
            match self.random.random_range(0..10) {
                0 => self.savepoint(key, "ROLLBACK TO s;"),
                1 => self.savepoint(key, "RELEASE s;"),
                _ => self.statement(key),
            }
        }
        if self.chance(3) {
            let pause = self.random.random_range(1..=8);
            write!(self.sql, "SELECT pg_sleep({pause} / 1000.0);").expect("a String takes all");
        }
        if self.chance(5) {
            // Holds the commit up behind its stamp: NOTIFY makes committers take turns there.
            self.sql.push_str("NOTIFY workload;");
        }
        let commits = !self.chance(6);
        self.sql.push_str(if commits { "COMMIT" } else { "ROLLBACK" });
        commits
    }

    fn savepoint(&mut self, key: i32, end: &str) {
        self.sql.push_str("SAVEPOINT s;");
        self.statement(key);
        if self.chance(30) {
            self.sql.push_str("SAVEPOINT inner_one;");
            self.statement(key + 1);
            let inner =
                if self.chance(50) { "ROLLBACK TO inner_one;" } else { "RELEASE inner_one;" };
            self.sql.push_str(inner);
            self.statement(key);
        }
        self.sql.push_str(end);
        if self.chance(50) {
            self.statement(key);
        }
    }

    fn statement(&mut self, key: i32) {
        let (v, other) = (self.random.random_range(0..1000), self.key());
        let body = if self.chance(3) { "repeat(md5(random()::text), 12)" } else { "'short'" };
        // Without a key nothing conflicts, and the table must not grow for ever.
        let keep = match self.shape {
            Shape::Keyless => "",
            Shape::Plain | Shape::Partitioned => " ON CONFLICT DO NOTHING",
        };
        // Now and then more than a transaction keeps in its buffer.
        let reach = if self.random.random_ratio(1, 400) { 150 } else { 3 };
        let to = key + self.random.random_range(1..=reach);
        let written = match self.random.random_range(0..100) {
            0..25 => write!(self.sql, "UPDATE t SET v = v + {v} WHERE id = {key};"),
            25..45 => write!(self.sql, "UPDATE t SET v = {v} WHERE id BETWEEN {key} AND {to};"),
            45..60 => write!(
                self.sql,
                "INSERT INTO t SELECT id, {v}, 'new', {body} FROM generate_series({key}, {to}) AS id{keep};"
            ),
            60..70 => match self.shape {
                Shape::Keyless => write!(self.sql, "UPDATE t SET note = NULL WHERE id = {key};"),
                Shape::Plain | Shape::Partitioned => write!(
                    self.sql,
                    "INSERT INTO t VALUES ({key}, {v}, NULL, {body}) ON CONFLICT (id) DO UPDATE SET v = t.v + 1;"
                ),
            },
            70..80 => write!(self.sql, "DELETE FROM t WHERE id BETWEEN {key} AND {to};"),
            80..86 => write!(
                self.sql,
                "UPDATE t SET id = {other} WHERE id = {key} AND NOT EXISTS (SELECT FROM t WHERE id = {other});"
            ),
            86..92 => write!(
                self.sql,
                "DELETE FROM t WHERE id = {key}; INSERT INTO t VALUES ({key}, {v}, 'again', {body}){keep};"
            ),
            92..96 => write!(
                self.sql,
                "WITH gone AS (DELETE FROM t WHERE id = {key} RETURNING *) \
                 INSERT INTO t SELECT id, v + 1, 'same command', body FROM gone{keep};"
            ),
            _ => write!(self.sql, "DELETE FROM t WHERE id = {key}; SELECT 1;"),
        };
        written.expect("a String takes all");
    }

    fn key(&mut self) -> i32 {
        self.random.random_range(1..=KEYS)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }
}

/// What one session may do to another, or a trigger to its own statement.
fn is_a_lost_race(code: &SqlState) -> bool {
    [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::TRIGGERED_DATA_CHANGE_VIOLATION,
        SqlState::CARDINALITY_VIOLATION,
    ]
    .contains(code)
}
