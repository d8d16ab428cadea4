//! The events of a source behind a position.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use event_source_model::cost::Cost;
use event_source_model::event::{Event, EventType, Refusal};
use event_source_model::events::Events;
use event_source_model::look::Only;
use event_source_model::net::NetChange;
use event_source_model::position::Position;
use event_source_model::snapshot::Snapshot;
use event_source_model::source::{Definition, Source, Start};
use event_source_model::stamp::{Mark, Passed, Stamp};

use crate::error::Result;
use crate::log::fingerprint::Fingerprints;
use crate::log::stamps::Stamps;
use crate::log::{self, floor, transaction};
use crate::matching::{Evaluator, Known};

/// How much one read may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events given back.
    pub events: u32,
    /// Transactions looked at, wanted or not.
    transactions: u32,
    /// Net changes evaluated, wanted or not.
    changes: u32,
    /// Bytes of images given back; the event that passes it is the last one. A count of events
    /// alone would let one page of large rows take all memory of the worker, and a worker that is
    /// killed for it takes every session of the cluster with it.
    bytes: usize,
    /// How long it may take, once [`AT_LEAST`] changes were evaluated.
    time: Option<Duration>,
}

/// Changes that are evaluated however long it takes: a read that finds its transaction and stops would
/// find it again and again.
const AT_LEAST: u32 = 100;
/// But no longer than this, where expressions are evaluated that take their time.
const LONGEST_SLICE: Duration = Duration::from_millis(10);
/// How often the clock is looked at, in transactions.
const CLOCK: u32 = 100;
/// How long the worker reads in one turn, so that the tail is not kept waiting.
const SLICE: Duration = Duration::from_millis(1);
/// The same inside a transaction that is read by key: finding its place in all runs may take a slice.
const SLICE_BY_KEY: Duration = Duration::from_millis(5);

impl Limits {
    /// A page for a feed: it is worth some work to fill it.
    pub fn of_page(events: u32) -> Self {
        let bytes = 32 * 1024 * 1024;
        Self { events, transactions: 100_000, changes: 100_000, bytes, time: None }
    }

    /// A page that is read in pieces, since its client lets it take longer than a worker may.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self { time: Some(time), ..self }
    }

    /// A batch for a stream.
    pub fn of_batch(events: u32) -> Self {
        Self { events, transactions: 100_000, changes: 100_000, bytes: 1024 * 1024, time: None }
    }

    /// What is left of a batch, and another one of so many events.
    #[must_use]
    pub fn and_of_batch(self, events: u32) -> Self {
        Self::of_batch(self.events.saturating_add(events))
    }

    /// As much of it as is done in one turn of the worker: what is left is read in the next, and the
    /// tail goes on in between.
    #[must_use]
    pub fn slice(self) -> Self {
        self.within(self.time.map_or(SLICE, |time| time.min(SLICE)))
    }

    /// What is left of it behind a chunk that ended for its [slice](Self::slice), if it goes on.
    pub fn behind(self, chunk: &Chunk) -> Option<Self> {
        let Used { transactions, changes, bytes } = chunk.used;
        let left = Self {
            events: self.events.saturating_sub(chunk.events.len() as u32),
            transactions: self.transactions.saturating_sub(transactions),
            changes: self.changes.saturating_sub(changes),
            bytes: self.bytes.saturating_sub(bytes),
            time: self.time.map(|time| time.saturating_sub(chunk.took)),
        };
        let is_spent = left.transactions == 0
            || left.changes == 0
            || left.bytes == 0
            || left.time.is_some_and(|time| time.is_zero());
        (chunk.is_cut && !is_spent).then_some(left)
    }
}

/// The transactions that a reader must skip, since its token's statement already saw them.
#[derive(Clone, Copy, Debug)]
pub struct Skip<'a> {
    token: u64,
    start: &'a Start,
}

impl<'a> Skip<'a> {
    /// What a reader of `source` at `from` must skip; nothing unless it started at the token.
    pub fn of(source: &'a Source, from: &Position) -> Option<Self> {
        (from.skipping == Some(source.id))
            .then_some(Self { token: source.id, start: &source.start })
    }
}

/// What was read.
#[derive(Debug)]
pub struct Chunk {
    pub events: Events,
    /// Where to go on.
    pub position: Position,
    /// More may be there, up to the same closed timestamp.
    pub has_next: bool,
    /// It ended for a limit of its work, not for events or bytes.
    pub is_cut: bool,
    /// Without the bytes of what is in `events`: whoever decodes those counts them.
    pub cost: Cost,
    /// The source cannot be read on, after `events`.
    pub error: Option<Refusal>,
    used: Used,
    took: Duration,
}

/// What counts against the limits.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    transactions: u32,
    changes: u32,
    bytes: usize,
}

/// Reads the events in `(from, closed]`. Needs an active snapshot that was taken after `closed`
/// was read.
///
/// # Errors
/// [`Kind::PositionGone`](crate::error::Kind::PositionGone) when the log no longer holds `from`.
pub fn read(
    evaluator: &mut Evaluator,
    definition: &Definition,
    skip: Option<Skip<'_>>,
    from: Position,
    closed: i64,
    limits: Limits,
) -> Result<Chunk> {
    let inside = from.ordinal != Position::END;
    let above = from.txn_ts.saturating_sub(i64::from(inside));
    let mut stamps = Stamps::forward(above, closed)?;
    let mut fingerprints = Fingerprints::above(above);
    // The segments are held from here on; see there.
    floor::check(&from)?;
    let mut reader = Reader::new(limits, skip, from);
    let mut last: Option<Mark> = None;
    while let Some(Passed { mark, collections }) = stamps.pass()? {
        if reader.counts_transaction().is_break() {
            break;
        }
        fingerprints.pass(mark);
        let wanted = collections.contains(definition.collection)
            && !skip.is_some_and(|s| s.start.saw(mark.txn_ts));
        if wanted {
            let (stamp, fingerprint) = (stamps.stamp()?, fingerprints.of(mark)?);
            if reader.transaction(evaluator, &stamps, &stamp, fingerprint)?.is_break() {
                break;
            }
        }
        reader.chunk.position = Position::after(mark.txn_ts);
        last = Some(mark);
    }
    let mut chunk = reader.chunk;
    // Behind the last transaction, not at the closed timestamp: see `Tail::end`.
    if let Some(last) = last.filter(|mark| mark.txn_ts == chunk.position.txn_ts) {
        chunk.position.fingerprint = fingerprints.of(last)?;
    }
    chunk.position = reader.marks.on(chunk.position);
    chunk.took = reader.begun.elapsed();
    chunk.cost.micros = u64::try_from(chunk.took.as_micros()).unwrap_or(u64::MAX);
    Ok(chunk)
}

/// A read that is under way.
struct Reader<'a> {
    limits: Limits,
    begun: Instant,
    marks: Marks<'a>,
    chunk: Chunk,
}

impl<'a> Reader<'a> {
    fn new(limits: Limits, skip: Option<Skip<'a>>, from: Position) -> Self {
        let marks = Marks { skip, rows: from.snapshot.clone() };
        let chunk = Chunk {
            events: Events::default(),
            position: from,
            has_next: false,
            is_cut: false,
            cost: Cost::default(),
            error: None,
            used: Used::default(),
            took: Duration::ZERO,
        };
        Self { limits, begun: Instant::now(), marks, chunk }
    }

    fn is_late(&self) -> bool {
        self.limits.time.is_some_and(|time| self.begun.elapsed() > time)
    }

    /// A transaction is looked at, unless that would be too much.
    fn counts_transaction(&mut self) -> ControlFlow<()> {
        let seen = self.chunk.used.transactions;
        if seen == self.limits.transactions
            || (seen >= AT_LEAST && seen.is_multiple_of(CLOCK) && self.is_late())
        {
            return self.cut();
        }
        self.chunk.used.transactions += 1;
        ControlFlow::Continue(())
    }

    /// A change is judged, unless that would be too much. One whose images are evaluated may take as long as
    /// all others together, and has the clock looked at.
    fn counts_change(&mut self, is_evaluated: bool) -> ControlFlow<()> {
        let seen = self.chunk.used.changes;
        let looks = seen >= AT_LEAST && (is_evaluated || seen.is_multiple_of(CLOCK));
        let is_dear = is_evaluated && seen > 0 && self.begun.elapsed() > LONGEST_SLICE;
        if seen == self.limits.changes || ((looks || is_dear) && self.is_late()) {
            return self.cut();
        }
        ControlFlow::Continue(())
    }

    fn cut(&mut self) -> ControlFlow<()> {
        (self.chunk.has_next, self.chunk.is_cut) = (true, true);
        ControlFlow::Break(())
    }

    /// The changes of the transaction that `stamps` gave out last.
    fn transaction(
        &mut self,
        evaluator: &mut Evaluator,
        stamps: &Stamps,
        stamp: &Stamp,
        fingerprint: u64,
    ) -> Result<ControlFlow<()>> {
        if stamp.by_key {
            self.limits.time = self.limits.time.map(|time| time.max(SLICE_BY_KEY));
        }
        let is_inside = self.chunk.position.txn_ts == stamp.txn_ts;
        let only = if is_inside { None } else { transaction::only(stamps, stamp)? };
        if let Some((payload, only)) = only {
            let position = Position::at(stamp.txn_ts, 0).with(fingerprint);
            return self.only(evaluator, position, &payload, &only);
        }
        let at = self.chunk.position.clone();
        transaction::visit(stamps, stamp, &at, &mut |position, change| {
            if self.counts_change(true).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let position = position.with(fingerprint);
            let verdict = evaluator.evaluate(&change);
            let cost = Cost::of_change(&change);
            Ok(self.judged(position, verdict, cost, |events, kind, position| {
                let NetChange { key, before, after, .. } = change;
                let bytes = before.iter().chain(&after).map(log::image_size).sum();
                events.push(Event { kind, position, key, before, after });
                bytes
            }))
        })
    }

    /// The one change of a transaction: what it is to the source may be known without its images, which
    /// are then decoded by nobody but the one who shows them.
    fn only(
        &mut self,
        evaluator: &mut Evaluator,
        position: Position,
        payload: &[u8],
        only: &Only,
    ) -> Result<ControlFlow<()>> {
        let known = evaluator.known(only);
        if self.counts_change(known == Known::ByImages).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let verdict = match known {
            Known::Event(kind) => Ok(kind),
            Known::ByImages => evaluator.evaluate(&transaction::net_of(payload)?),
        };
        Ok(self.judged(position, verdict, only.cost(), |events, kind, position| {
            events.push_logged(kind, &position, payload, &only.shape);
            payload.len()
        }))
    }

    /// What a change is to the source; `push` adds the event and says how large it is.
    fn judged(
        &mut self,
        position: Position,
        verdict: Result<Option<EventType>>,
        cost: Cost,
        push: impl FnOnce(&mut Events, EventType, Position) -> usize,
    ) -> ControlFlow<()> {
        let Self { chunk, limits, .. } = self;
        // One event more than wanted tells whether there is a next page.
        let full = chunk.events.len() == limits.events as usize || chunk.used.bytes >= limits.bytes;
        match verdict {
            Ok(None) => chunk.cost += cost,
            _ if full => {
                chunk.has_next = true;
                return ControlFlow::Break(());
            }
            Ok(Some(kind)) => {
                chunk.cost.changes += cost.changes;
                let position = self.marks.on(position.clone());
                chunk.used.bytes += push(&mut chunk.events, kind, position);
            }
            Err(error) => {
                // The next page starts behind the change that failed.
                chunk.cost += cost;
                chunk.error = Some(error.into());
                chunk.position = position;
                return ControlFlow::Break(());
            }
        }
        chunk.used.changes += 1;
        chunk.position = position;
        ControlFlow::Continue(())
    }
}

/// What all positions of a read carry beside their place.
struct Marks<'a> {
    skip: Option<Skip<'a>>,
    rows: Option<Box<Snapshot>>,
}

impl Marks<'_> {
    /// While a reader is not past the last transaction to skip, its cursors say so; and while it is not
    /// past what the rows that it began with had seen.
    fn on(&self, mut position: Position) -> Position {
        if let Some(skip) = self.skip {
            let last = skip.start.seen.last().copied().unwrap_or(0);
            position.skipping = (position.txn_ts < last).then_some(skip.token);
        }
        match &self.rows {
            Some(rows) => position.having_seen(Some(rows.clone())),
            None => position,
        }
    }
}
