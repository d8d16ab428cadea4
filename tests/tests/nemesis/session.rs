//! One session that writes: its deck of cards, and what it does with each.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use event_source_tests::rebuild::{Disorder, Quiet};
use event_source_tests::wait_for;
use postgres::error::DbError;
use postgres::{Client, Config, NoTls};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::composer::{Composer, Step};
use super::coverage::{Coverage, Outcome};
use super::menu::{How, MENU, Who};
use super::rows;

/// What the sessions of a run share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub config: Config,
    pub quiet: &'a Quiet,
    pub coverage: &'a Coverage,
    /// Held by each transaction; whoever holds it alone has a quiet point.
    pub gate: RwLock<()>,
    /// The backends of the sessions.
    pub backends: Vec<AtomicI32>,
    pub transactions: AtomicU64,
    /// Which kinds are on.
    pub on: Vec<bool>,
}

impl Shared<'_> {
    pub(crate) fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().expect("nobody panics with the gate")
    }

    /// A connection; after a crash or a kill it may take a while.
    pub(crate) fn connect(&self) -> Client {
        wait_for("the server to take a session", Duration::from_secs(120), || {
            self.config.connect(NoTls).ok()
        })
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    number: usize,
    random: SmallRng,
    /// The rest of the deck: indexes into the menu.
    deck: Vec<usize>,
    serial: u64,
}

impl Session {
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        let random = SmallRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(number as u64));
        Self { number, random, deck: Vec::new(), serial: 0 }
    }

    /// Writes until the run ends.
    pub(crate) fn run(mut self, shared: &Shared<'_>) {
        let mut client = self.connect(shared);
        while !shared.quiet.stopped() {
            let _pass = shared.pass();
            let (kind, commits, steps) = self.transaction(&shared.on);
            let outcome = match perform(&mut client, &steps) {
                Ok(()) if commits => Outcome::Done,
                Ok(()) => Outcome::RolledBack,
                Err(why) => {
                    let broken = client.is_closed() || client.batch_execute("ROLLBACK").is_err();
                    if broken {
                        client = self.connect(shared);
                    }
                    match judge(&why, broken) {
                        Some(outcome) => outcome,
                        None => {
                            let what = MENU[kind].name;
                            let why = format!("{what}: {why:?} in {steps:#?}");
                            shared.quiet.fail("none", "a session", Disorder::Client(why));
                            return;
                        }
                    }
                }
            };
            shared.coverage.kinds[kind].count(outcome);
            shared.transactions.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connect(&self, shared: &Shared<'_>) -> Client {
        let mut client = shared.connect();
        client
            .batch_execute("SET lock_timeout = '3s'; SET client_min_messages = error")
            .expect("a new session takes settings");
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).expect("it has a process");
        shared.backends[self.number].store(pid.get(0), Ordering::Relaxed);
        client
    }

    /// Draws the next card and composes its transaction; whether it is meant to commit.
    fn transaction(&mut self, on: &[bool]) -> (usize, bool, Vec<Step>) {
        while self.deck.is_empty() {
            let mine = |who| who == Who::Everyone || self.number == 0;
            let cards = MENU.iter().enumerate().filter(|(_, kind)| mine(kind.who));
            self.deck = cards.flat_map(|(at, kind)| std::iter::repeat_n(at, kind.weight)).collect();
            self.deck.shuffle(&mut self.random);
            // What is off is drawn nevertheless: the rest of the statements stays the same.
            self.deck.retain(|&at| on[at]);
        }
        let kind = self.deck.pop().expect("filled above");
        self.serial += 1;
        let serial = self.serial * 100 + self.number as u64;
        let (commits, steps) = self.compose(kind, serial);
        (kind, commits, steps)
    }

    fn compose(&mut self, kind: usize, serial: u64) -> (bool, Vec<Step>) {
        let entry = MENU[kind];
        let mut c = Composer::new(&mut self.random, serial);
        if entry.how == How::Alone {
            (entry.compose)(&mut c);
            return (true, c.finish());
        }
        c.sql("BEGIN");
        if c.chance(20) {
            c.sql("SET LOCAL synchronous_commit = off");
        }
        if c.chance(10) {
            rows::update(&mut c);
        }
        (entry.compose)(&mut c);
        if c.chance(15) {
            rows::insert(&mut c);
        }
        if c.chance(3) {
            let pause = c.between(1, 8);
            c.sql(format!("SELECT pg_sleep({pause} / 1000.0)"));
        }
        if c.chance(4) {
            // Holds the commit up behind its stamp: NOTIFY makes committers take turns there.
            c.sql("NOTIFY nemesis");
        }
        let commits = !c.chance(5);
        c.sql(if commits { "COMMIT" } else { "ROLLBACK" });
        (commits, c.finish())
    }
}

/// Does it, step by step.
fn perform(client: &mut Client, steps: &[Step]) -> Result<(), Failure> {
    for step in steps {
        match step {
            Step::Run(sql) => client.batch_execute(sql)?,
            Step::Fails(code, sql) => match client.batch_execute(sql) {
                Ok(()) => return Err(Failure::Succeeded),
                Err(e) if e.code().is_some_and(|c| c.code() == *code) => {}
                Err(e) => return Err(e.into()),
            },
            Step::Copy { into, rows } => {
                let mut sink = client.copy_in(&format!("COPY {into} FROM STDIN"))?;
                std::io::Write::write_all(&mut sink, rows.as_bytes()).map_err(|_| Failure::Copy)?;
                sink.finish()?;
            }
        }
    }
    Ok(())
}

/// Why a transaction was not done.
#[derive(Debug)]
enum Failure {
    Sql(postgres::Error),
    /// What has to fail did not.
    Succeeded,
    Copy,
}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Self {
        Self::Sql(error)
    }
}

/// What others may do to a transaction; `None` is a fault.
fn judge(why: &Failure, broken: bool) -> Option<Outcome> {
    match why {
        Failure::Sql(error) => match error.code() {
            Some(code) if code.code() == NOTHING_TO_DO => Some(Outcome::Idle),
            // The disturber ends the same prepared transaction at this moment.
            Some(code) if code.code() == "55000" => {
                let busy = |said: &DbError| said.message().ends_with("is busy");
                error.as_db_error().is_some_and(busy).then_some(Outcome::Lost)
            }
            Some(code) => OTHERS.contains(&code.code()).then_some(Outcome::Lost),
            None => broken.then_some(Outcome::Lost),
        },
        // The server's answer to a broken COPY comes as an I/O error.
        Failure::Copy => Some(Outcome::Lost),
        Failure::Succeeded => None,
    }
}

const NOTHING_TO_DO: &str = "NM000";

/// What other sessions, the disturber, or a trigger of the same statement may cause.
const OTHERS: &[&str] = &[
    "40P01", // deadlock
    "40001", // serialization failure
    "55P03", // a lock was not to be had
    "57014", // cancelled
    "57P01", // terminated
    "23505", // unique violation
    "23503", // foreign key violation
    "23514", // no partition for the row
    "21000", // a row changed twice by one command
    "27000", // a row changed by its own trigger
    "42P01", // a table that was there
    "42P07", // a table that was not
    "42703", // a column that was there
    "42701", // a column that was not
    "3F000", // a schema that was there
    "42704", // an index, or a prepared transaction, that was there
];
