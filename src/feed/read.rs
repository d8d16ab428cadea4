//! The events of a source behind a position.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use event_source_model::cost::Cost;
use event_source_model::event::{Event, Refusal};
use event_source_model::net::NetChange;
use event_source_model::position::Position;
use event_source_model::source::{Definition, Source, Start};

use crate::error::Result;
use crate::log::fingerprint::Fingerprints;
use crate::log::stamps::{Stamp, Stamps};
use crate::log::{self, floor, transaction};
use crate::matching::Evaluator;

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

    /// A slice of a stream's catch-up, in between of which the tail goes on.
    pub fn of_slice(events: u32) -> Self {
        Self { events, transactions: 2_000, changes: 1_000, bytes: 1024 * 1024, time: None }
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
    pub events: Vec<Event>,
    /// Where to go on.
    pub position: Position,
    /// More may be there, up to the same closed timestamp.
    pub has_next: bool,
    /// It ended for a limit of its work, not for events or bytes.
    pub is_cut: bool,
    pub cost: Cost,
    /// The source cannot be read on, after `events`.
    pub error: Option<Refusal>,
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
    let begun = Instant::now();
    let inside = from.ordinal != Position::END;
    let above = from.txn_ts.saturating_sub(i64::from(inside));
    let rows = from.snapshot.clone();
    let mut stamps = Stamps::forward(above, closed)?;
    let mut fingerprints = Fingerprints::above(above);
    // The segments are held from here on; see there.
    floor::check(&from)?;
    let mut chunk = Chunk {
        events: Vec::new(),
        position: from,
        has_next: false,
        is_cut: false,
        cost: Cost::default(),
        error: None,
    };
    let is_late = || limits.time.is_some_and(|time| begun.elapsed() > time);
    let (mut transactions, mut changes, mut bytes) = (0, 0, 0);
    let mut passed: Option<Stamp> = None;
    while let Some(stamp) = stamps.next()? {
        transactions += 1;
        let is_over = transactions > limits.transactions
            || (transactions > AT_LEAST && transactions % AT_LEAST == 0 && is_late());
        if is_over {
            (chunk.has_next, chunk.is_cut) = (true, true);
            break;
        }
        fingerprints.pass(&stamp);
        let wanted = stamp.collections.contains(&definition.collection)
            && !skip.is_some_and(|s| s.start.saw(stamp.txn_ts));
        if wanted {
            let at = chunk.position.clone();
            let fingerprint = fingerprints.of(&stamp)?;
            let flow = transaction::visit(&stamps, &stamp, &at, &mut |position, change| {
                let position = position.with(fingerprint);
                let is_over = changes == limits.changes || (changes >= AT_LEAST && is_late());
                if is_over {
                    (chunk.has_next, chunk.is_cut) = (true, true);
                    return Ok(ControlFlow::Break(()));
                }
                chunk.cost += Cost::of(change.before.iter().chain(&change.after));
                // One event more than wanted tells whether there is a next page.
                let full = chunk.events.len() == limits.events as usize || bytes >= limits.bytes;
                let stop = match evaluator.evaluate(&change) {
                    Ok(None) => false,
                    _ if full => true,
                    Ok(Some(kind)) => {
                        let position = position.clone();
                        let NetChange { key, before, after, .. } = change;
                        bytes += before.iter().chain(&after).map(log::image_size).sum::<usize>();
                        chunk.events.push(Event { kind, position, key, before, after });
                        false
                    }
                    Err(error) => {
                        // The next page starts behind the change that failed.
                        chunk.error = Some(error.into());
                        chunk.position = position;
                        return Ok(ControlFlow::Break(()));
                    }
                };
                if stop {
                    chunk.has_next = true;
                    return Ok(ControlFlow::Break(()));
                }
                changes += 1;
                chunk.position = position;
                Ok(ControlFlow::Continue(()))
            })?;
            if flow.is_break() {
                break;
            }
        }
        chunk.position = Position::after(stamp.txn_ts);
        passed = Some(stamp);
    }
    // Behind the last transaction, not at the closed timestamp: see `Tail::end`.
    if let Some(last) = passed.filter(|stamp| stamp.txn_ts == chunk.position.txn_ts) {
        chunk.position.fingerprint = fingerprints.of(&last)?;
    }
    if let Some(skip) = skip {
        mark(&mut chunk, skip);
    }
    if rows.is_some() {
        for position in positions(&mut chunk) {
            *position = position.clone().having_seen(rows.clone());
        }
    }
    chunk.cost.micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(chunk)
}

/// While a reader is not past the last transaction to skip, its cursors say so.
fn mark(chunk: &mut Chunk, skip: Skip<'_>) {
    let last = skip.start.seen.last().copied().unwrap_or(0);
    for position in positions(chunk) {
        position.skipping = (position.txn_ts < last).then_some(skip.token);
    }
}

/// All positions that a reader of the chunk may go on from.
fn positions(chunk: &mut Chunk) -> impl Iterator<Item = &mut Position> {
    let events = chunk.events.iter_mut().map(|event| &mut event.position);
    events.chain([&mut chunk.position])
}
