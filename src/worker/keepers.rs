//! When to send a keeper, a process that looks after one database's log and ends.
//!
//! It guarantees that every log that is written is looked after, also of databases that nobody
//! serves: as soon as a writer says that much was written, and from time to time while something
//! may grow older than the retention. Runs in the launcher, which is connected to no database.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::started::{Started, description};
use crate::log::retention;
use crate::order::shared::{Database, Shared};
use crate::settings;

/// While a keeper is at work the launcher looks whether it has ended. The next visit after one that
/// found somebody at a segment comes so soon as well: a reader is gone in a moment. Twice as long
/// each time, up to [`OFTEN`].
const SOON: Duration = Duration::from_millis(100);
const MOST_LONGER: u32 = 4;
/// The times between two visits for the sake of age are between these.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(60);
/// So many visits in the time that a change is kept.
const VISITS: i64 = 16;
/// After a keeper that failed the next one waits this long, and twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 10;

/// The keepers that were sent.
#[derive(Debug, Default)]
pub(super) struct Keepers {
    visits: HashMap<u32, Visit>,
}

/// What is known of the last keeper of a database.
#[derive(Debug)]
struct Visit {
    /// `None` once it was seen to have ended.
    started: Option<Started>,
    /// How many had done their work when it was sent.
    done_before: u64,
    /// How many failed since one did its work: the database may have been dropped.
    failures: u32,
    /// How many in a row left something to do.
    unfinished: u32,
    sent: Instant,
}

impl Keepers {
    /// Sends a keeper wherever there is something to do; says when to look again at the latest.
    pub(super) fn send(&mut self, shared: &Shared) -> Duration {
        // SAFETY: reads shared state.
        if unsafe { pg_sys::RecoveryInProgress() } {
            // The primary's keeper does it, and the WAL does it here.
            return SELDOM;
        }
        let mut next = interval();
        for (database, entry) in shared.databases_in_use() {
            let visit = self.visits.entry(database.to_u32()).or_insert_with(Visit::never);
            visit.bury(entry);
            if visit.started.is_some() {
                next = next.min(SOON);
                continue;
            }
            let wait = visit.wait(entry);
            if wait.is_zero() {
                visit.send(database, entry);
                next = next.min(SOON);
            } else {
                next = next.min(wait);
            }
        }
        next
    }
}

impl Visit {
    fn never() -> Self {
        Self { started: None, done_before: 0, failures: 0, unfinished: 0, sent: Instant::now() }
    }

    /// How long to wait before the next keeper.
    fn wait(&self, entry: &Database) -> Duration {
        let pause = match self.failures {
            0 if retention::is_due(entry.written.load(SeqCst)) => return Duration::ZERO,
            0 if self.unfinished != 0 => {
                OFTEN.min(SOON * 2_u32.pow(self.unfinished.min(MOST_LONGER)))
            }
            0 => interval(),
            failures => PAUSE * 2_u32.pow(failures.min(MOST_DOUBLINGS)),
        };
        pause.saturating_sub(self.sent.elapsed())
    }

    /// Notices that the keeper ended, and how.
    fn bury(&mut self, entry: &Database) {
        if !self.started.as_ref().is_some_and(Started::has_ended) {
            return;
        }
        self.started = None;
        let failed = entry.visits.load(SeqCst) == self.done_before;
        self.failures = if failed { self.failures + 1 } else { 0 };
        let left = entry.unfinished.load(SeqCst);
        self.unfinished = if left { self.unfinished + 1 } else { 0 };
    }

    fn send(&mut self, database: pg_sys::Oid, entry: &Database) {
        let kind = c"event_source keeper";
        let mut worker = description(kind, c"event_source_keeper", pg_sys::BGW_NEVER_RESTART);
        worker.bgw_main_arg = pg_sys::Datum::from(database);
        self.sent = Instant::now();
        self.done_before = entry.visits.load(SeqCst);
        self.started = Started::of(worker);
        if self.started.is_none() {
            self.failures += 1;
            log!(
                "no background worker is free to look after the change log: raise max_worker_processes"
            );
        }
    }
}

/// The time between two visits when little is written.
fn interval() -> Duration {
    let micros = (settings::log_policy().retention / VISITS).unsigned_abs();
    Duration::from_micros(micros).clamp(OFTEN, SELDOM)
}
