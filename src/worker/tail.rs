//! What was committed since the last look, matched against every open source.
//!
//! It guarantees that each transaction up to [`Tailer::published`] was sent once and in order, and
//! that nothing above it was; and that no change is sent for streams that had lost the right to see it
//! when it was committed. Heartbeat stamps, which let a standby and the next token know how far
//! everything is closed, are written here too.

use std::time::{Duration, Instant};

use event_source_door::message::{Changes, SourceId, Tail, ToServer};
use event_source_model::position::Position;
use pgrx::pg_sys;

use super::found::Found;
use super::rights;
use super::sources::Sources;
use crate::error::{Error, Kind, Result};
use crate::log::fingerprint::{self, Fingerprints};
use crate::log::stamps::Stamps;
use crate::log::{self, floor};
use crate::order::history;
use crate::order::reading::Reading;
use crate::order::shared::{self, Shared};
use crate::pg::transaction as worker_transaction;
use crate::settings;

/// A look ends after this many transactions, so that requests are not kept waiting.
const MOST_TRANSACTIONS: u32 = 1_000;
/// A heartbeat stamp is written at least this often: see `order::prime` for what rests on it.
const RAREST_BEAT: Duration = Duration::from_secs(30);
/// Where nothing was committed, whoever has work to do looks this often: a look begins a transaction.
const RAREST_LOOK: Duration = Duration::from_millis(5);
/// A quiet server hears of the closed timestamp this often.
const QUIET: Duration = Duration::from_secs(1);

/// Where the tail is.
#[derive(Debug)]
pub struct Tailer {
    /// Behind the last transaction that was sent; `None` until the first look: a server knows nothing
    /// of what was before it.
    published: Option<Position>,
    fingerprints: Fingerprints,
    /// Looked at up to here, and nothing was there that the server has not been sent.
    seen: i64,
    /// The history that all of this is of. A stream's cursors name it for as long as the stream lasts.
    history: u64,
    /// When the server last heard from here.
    told: Instant,
    /// When it last looked.
    looked: Instant,
    /// Transactions since the last heartbeat stamp.
    since_heartbeat: u64,
    heartbeat: Instant,
}

/// What a look found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub transactions: u32,
    /// The look ended before the end of the log.
    pub more: bool,
    /// The log could not be read; looking again at once would most likely fail again.
    pub failed: Option<Kind>,
}

/// What may be in the log behind the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// No transaction of this database.
    None,
    /// A transaction that cannot be read yet: somebody, of whatever database, still commits.
    HeldBack,
    /// Something that a look would find.
    Some,
}

impl Tailer {
    pub fn new() -> Self {
        let now = Instant::now();
        let history = history::history_id();
        Self {
            published: None,
            fingerprints: Fingerprints::above(0),
            seen: 0,
            history,
            told: now,
            looked: now,
            since_heartbeat: 0,
            heartbeat: now,
        }
    }

    /// Everything up to here was sent.
    pub fn published(&self) -> i64 {
        self.published.as_ref().map_or(0, |position| position.txn_ts)
    }

    /// Nothing else is there up to here.
    pub fn closed(&self) -> i64 {
        self.seen.max(self.published())
    }

    /// Whether there was a look: before it, no request can be answered that goes on with the tail.
    pub fn has_looked(&self) -> bool {
        self.published.is_some()
    }

    /// Whether a look would find a transaction; reads shared memory only.
    pub fn news(&self, shared: &Shared) -> News {
        let seen = self.closed();
        // The clock alone does not tell: it is everybody's, and another database that is busy
        // would have this worker look all the time.
        // SAFETY: set when the worker connected.
        let here = shared.database(unsafe { pg_sys::MyDatabaseId });
        if here.is_some_and(|entry| entry.newest_stamp() <= seen) {
            News::None
        } else if shared.clock.closed(shared.slots()) <= seen {
            News::HeldBack
        } else {
            News::Some
        }
    }

    /// Whether somebody who has work to do should look first.
    pub fn is_due(&self, shared: &Shared) -> bool {
        self.looked.elapsed() >= RAREST_LOOK || self.news(shared) != News::None
    }

    /// As [`Self::look`], unless there is nothing to be found.
    ///
    /// # Errors
    /// When there is no shared memory.
    pub fn look_for_news(
        &mut self,
        sources: &mut Sources,
        out: &mut Vec<ToServer>,
    ) -> Result<Looked> {
        // Nobody tells a standby of news.
        if !is_standby() && self.news(shared::get()?) == News::None {
            return Ok(Looked::default());
        }
        Ok(self.look(sources, out))
    }

    /// Sends what was committed since the last look.
    pub fn look(&mut self, sources: &mut Sources, out: &mut Vec<ToServer>) -> Looked {
        self.looked = Instant::now();
        let outcome = worker_transaction::run(|| self.read(sources, out));
        let looked = outcome.unwrap_or_else(|error| {
            // It was logged; the position has not moved, so the next look tries again.
            pgrx::warning!("event_source worker: cannot read the log: {error}");
            Looked { failed: Some(error.kind), ..Looked::default() }
        });
        self.beat();
        looked
    }

    fn read(&mut self, sources: &mut Sources, out: &mut Vec<ToServer>) -> Result<Looked> {
        let reading = Reading::begin()?;
        if history::history_id() != self.history {
            // What this reading sees may be of the new history; the old one's name must not go with it.
            return Err(history::changed());
        }
        let mut end = match self.published.clone() {
            Some(published) => published,
            None => self.begin(reading.closed)?,
        };
        // Whatever took a right before one of these transactions began is heard of.
        rights::hear();
        let since = end.txn_ts;
        let mut looked = Looked::default();
        if reading.closed <= since {
            return Ok(looked);
        }
        if sources.is_empty() {
            return self.pass(since, reading.closed, out);
        }
        sources.matcher.begin();
        end_failed(sources, out);
        let mut closed = reading.closed;
        let mut found = Found::begin(end.clone(), self.closed());
        let mut stamps = Stamps::forward(since.max(self.seen), reading.closed)?;
        let floor = floor::current()?;
        if floor > since.max(self.seen) {
            // The log was let go faster than this could read it: streams learn of the gap.
            self.leave_out(Position::after(floor), out);
            looked.more = true;
            return Ok(looked);
        }
        while let Some(stamp) = stamps.next()? {
            looked.transactions += 1;
            self.fingerprints.pass(stamp.mark());
            let fingerprint = self.fingerprints.of(stamp.mark())?;
            self.since_heartbeat += u64::from(stamp.changes > 0);
            let wanted = stamp.collections.as_slice().iter().any(|&c| sources.matcher.wants(c));
            if wanted && stamp.by_key {
                let closed = stamp.txn_ts - 1;
                out.push(found.end(end, closed));
                self.leave_out(Position::after(stamp.txn_ts).with(fingerprint), out);
                looked.more = true;
                return Ok(looked);
            }
            if wanted {
                found.transaction(&stamps, &stamp, fingerprint, sources, out)?;
            }
            end = Position::after(stamp.txn_ts).with(fingerprint);
            if looked.transactions == MOST_TRANSACTIONS || found.is_much() {
                closed = stamp.txn_ts;
                looked.more = true;
                break;
            }
        }
        if looked.transactions > 0 || self.told.elapsed() >= QUIET {
            out.push(found.end(end.clone(), closed));
            self.told = Instant::now();
            self.published = Some(end);
        }
        self.seen = closed;
        Ok(looked)
    }

    /// Nobody follows anything: the tail moves on without the log being read. Of a burst nothing is
    /// known then; the next heartbeat comes with the interval.
    fn pass(&mut self, since: i64, closed: i64, out: &mut Vec<ToServer>) -> Result<Looked> {
        if self.told.elapsed() >= QUIET {
            let end = self.begin(closed)?;
            out.push(ToServer::Tail(empty(since, end, closed)));
            self.told = Instant::now();
            self.seen = closed;
        }
        Ok(Looked::default())
    }

    /// Starts behind the newest transaction, whatever was before it.
    fn begin(&mut self, closed: i64) -> Result<Position> {
        // A floor may be all that is left, and below what was there.
        let begin = fingerprint::newest(closed)?.max(self.published.clone());
        let begin = begin.unwrap_or_else(|| Position::after(closed));
        self.fingerprints = Fingerprints::above(begin.txn_ts);
        self.published = Some(begin.clone());
        Ok(begin)
    }

    /// What is up to `end` is not sent: the next tail starts behind it, and the server, seeing the
    /// gap, has its streams read it from the log, each at its own pace. So with a huge transaction,
    /// which would have to be held whole, here and there; and with what the log no longer holds.
    fn leave_out(&mut self, end: Position, out: &mut Vec<ToServer>) {
        let (since, closed) = (end.txn_ts, end.txn_ts);
        out.push(ToServer::Tail(empty(since, end.clone(), closed)));
        self.told = Instant::now();
        self.published = Some(end);
        self.seen = closed;
        self.fingerprints = Fingerprints::above(closed);
    }

    /// Writes a heartbeat stamp after a burst, and every status interval.
    fn beat(&mut self) {
        let interval = Duration::from_millis(settings::status_interval_ms()).min(RAREST_BEAT);
        let quiet = self.heartbeat.elapsed();
        let due = quiet >= interval || (self.since_heartbeat > 0 && quiet >= QUIET);
        if is_standby() || !due {
            return;
        }
        // A failure was logged; the next one comes in its time.
        let _ = worker_transaction::run(log::heartbeat);
        self.heartbeat = Instant::now();
        self.since_heartbeat = 0;
    }
}

/// Looks that end here have seen everything that is committed now.
pub fn reach() -> i64 {
    match shared::get() {
        Ok(shared) if !is_standby() => shared.clock.closed(shared.slots()),
        // The end of the log.
        _ => i64::MAX,
    }
}

fn is_standby() -> bool {
    // SAFETY: reads shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}

fn empty(since: i64, end: Position, closed: i64) -> Tail {
    Tail { since, end, closed, changes: Changes::default(), looked_at: Vec::new() }
}

/// Ends the sources that DDL since the last look has left without their index or table.
fn end_failed(sources: &mut Sources, out: &mut Vec<ToServer>) {
    let failed = sources.matcher.take_failed();
    end_all(sources, failed, out);
}

pub(super) fn end_all(
    sources: &mut Sources,
    failed: Vec<(SourceId, Error)>,
    out: &mut Vec<ToServer>,
) {
    for (source, error) in failed {
        // Where a right is gone by which it failed, that is the reason. If it cannot be seen, the failure is.
        let reviewed = sources.review(source, out);
        if reviewed.is_ok() && sources.get(source).is_none() {
            continue;
        }
        sources.end(source);
        out.push(ToServer::Ended { source, refusal: error.into() });
    }
}
