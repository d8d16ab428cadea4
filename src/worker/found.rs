//! What a look at the log has found and not handed out yet.
//!
//! Part of the worker's look: it runs inside its transaction, under its snapshot.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use event_source_door::message::{Changes, SeenBy, Tail, ToServer};
use event_source_model::cost::Cost;
use event_source_model::position::Position;
use event_source_model::stamp::Stamp;

use super::sources::Sources;
use super::tail::end_all;
use crate::error::Result;
use crate::log::stamps::Stamps;
use crate::log::transaction;
use crate::matching::Matches;

/// A tail message is sent after this many changes.
const MOST_CHANGES: usize = 500;
/// A tail message is sent once its changes come to this: 500 large rows would not fit a frame.
const MOST_BYTES: usize = 1024 * 1024;
/// A look ends after the transaction with which its changes come to this: what it finds waits in
/// the worker's memory until the look is over.
const MOST_BYTES_AT_ONCE: usize = 8 * 1024 * 1024;

/// The changes of a look that somebody sees, up to where it is.
pub(super) struct Found {
    /// Where a part of the look leaves everything.
    begin: Position,
    closed: i64,
    changes: Changes,
    bytes: usize,
    /// Of the parts that were handed out.
    bytes_before: usize,
    looked_at: LookedAt,
}

impl Found {
    /// A look begins behind `begin`, where everything up to `closed` was handed out.
    pub(super) fn begin(begin: Position, closed: i64) -> Self {
        Self {
            begin,
            closed,
            changes: Changes::default(),
            bytes: 0,
            bytes_before: 0,
            looked_at: LookedAt::begin(),
        }
    }

    /// Matches the changes of the stamp that `stamps` gave out last.
    pub(super) fn transaction(
        &mut self,
        stamps: &Stamps,
        stamp: &Stamp,
        fingerprint: u64,
        sources: &mut Sources,
        out: &mut Vec<ToServer>,
    ) -> Result<()> {
        if let Some((payload, only)) = transaction::only(stamps, stamp)? {
            self.looked_at.add(only.collection, only.cost());
            // Most often nobody looks into the images before the server shows them.
            let matches = match sources.matcher.known(&only) {
                Some(matches) => matches,
                None => sources.matcher.matches(&transaction::net_of(&payload)?),
            };
            let seen_by = self.seen_by(matches, sources, out)?;
            if !seen_by.is_empty() {
                let position = Position::at(stamp.txn_ts, 0).with(fingerprint);
                self.changes.push_logged(position, &payload, &only.shape, seen_by);
                self.pushed(out);
            }
            return Ok(());
        }
        let from = Position::after(self.begin.txn_ts);
        // Walked to its end: nothing below breaks.
        let _: ControlFlow<()> =
            transaction::visit(stamps, stamp, &from, &mut |position, change| {
                if change.rewrite {
                    out.push(ToServer::Forget);
                }
                self.looked_at.add(change.collection, Cost::of_change(&change));
                let seen_by = self.seen_by(sources.matcher.matches(&change), sources, out)?;
                if !seen_by.is_empty() {
                    self.changes.push(position.with(fingerprint), &change, seen_by);
                    self.pushed(out);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(())
    }

    /// Who sees a change, of those that it matches. Those that end by it, or may no longer see it, end here.
    fn seen_by(
        &mut self,
        mut matches: Matches,
        sources: &mut Sources,
        out: &mut Vec<ToServer>,
    ) -> Result<SeenBy> {
        let mut ended = Vec::new();
        end_all(sources, matches.failed, &mut ended);
        for (source, _) in &matches.seen_by {
            sources.review(*source, &mut ended)?;
        }
        if !ended.is_empty() {
            // What these saw before comes before their end.
            self.hand_out(out);
            out.append(&mut ended);
            matches.seen_by.retain(|&mut (source, _)| sources.get(source).is_some());
        }
        Ok(matches.seen_by)
    }

    fn pushed(&mut self, out: &mut Vec<ToServer>) {
        self.bytes += self.changes.last().map_or(0, |change| change.payload.len());
        if self.changes.len() >= MOST_CHANGES || self.bytes >= MOST_BYTES {
            self.hand_out(out);
        }
    }

    /// A part of the look: nothing is closed by it, since the rest of the transaction follows.
    fn hand_out(&mut self, out: &mut Vec<ToServer>) {
        self.bytes_before += std::mem::take(&mut self.bytes);
        let changes = std::mem::take(&mut self.changes);
        let (since, end) = (self.begin.txn_ts, self.begin.clone());
        let looked_at = Vec::new();
        out.push(ToServer::Tail(Tail { since, end, closed: self.closed, changes, looked_at }));
    }

    /// Whether the look should end for what it holds.
    pub(super) fn is_much(&self) -> bool {
        self.bytes_before + self.bytes >= MOST_BYTES_AT_ONCE
    }

    /// The look is over, behind `end`.
    pub(super) fn end(self, end: Position, closed: i64) -> ToServer {
        let (changes, looked_at) = (self.changes, self.looked_at.end());
        ToServer::Tail(Tail { since: self.begin.txn_ts, end, closed, changes, looked_at })
    }
}

/// What a look evaluates, by collection. The time is measured as a whole and shared out by changes.
struct LookedAt {
    begun: Instant,
    costs: BTreeMap<u64, Cost>,
}

impl LookedAt {
    fn begin() -> Self {
        Self { begun: Instant::now(), costs: BTreeMap::new() }
    }

    fn add(&mut self, collection: u64, cost: Cost) {
        *self.costs.entry(collection).or_default() += cost;
    }

    fn end(self) -> Vec<(u64, Cost)> {
        let all: u64 = self.costs.values().map(|cost| cost.changes).sum();
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let share = |(collection, cost): (u64, Cost)| {
            (collection, Cost { micros: micros * cost.changes / all.max(1), ..cost })
        };
        self.costs.into_iter().map(share).collect()
    }
}
