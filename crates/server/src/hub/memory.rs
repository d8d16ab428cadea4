//! The recent stretch of the log, so that a client that comes back soon costs the database nothing.

use std::collections::VecDeque;
use std::mem::{size_of, size_of_val};
use std::sync::{Arc, Weak};

use event_source_door::message::{SourceId, Tail, TailChange};
use event_source_model::position::Position;

use super::queue::Chunk;
use super::renderer::Format;
use crate::budget::Purse;

/// The tails of `(since, end]`; those without changes are not kept, only counted in.
#[derive(Debug)]
pub(super) struct Memory {
    tails: VecDeque<Held>,
    bytes: usize,
    /// `None` until the first tail: nothing is known then.
    span: Option<Span>,
    /// Counts the bytes.
    purse: Purse,
}

/// A tail in memory.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) tail: Arc<Tail>,
    /// About how many it occupies.
    bytes: usize,
    rendered: Vec<Rendered>,
}

/// What all of a tail is for the ordinary streams of a source: as long as one of them has it waiting, others that
/// come for it get the same. A thousand that fell behind together are a thousand times one place in a queue.
#[derive(Debug)]
struct Rendered {
    source: SourceId,
    format: Format,
    chunks: Vec<Weak<Chunk>>,
}

#[derive(Clone, Debug)]
struct Span {
    since: i64,
    end: Position,
    closed: i64,
}

impl Memory {
    pub(super) fn new(purse: Purse) -> Self {
        Self { tails: VecDeque::new(), bytes: 0, span: None, purse }
    }

    /// Where a stream stands that was handed everything; `None` before the first tail.
    pub(super) fn end(&self) -> Option<&Position> {
        self.span.as_ref().map(|s| &s.end)
    }

    /// The closed timestamp when it was last heard of.
    pub(super) fn closed(&self) -> Option<i64> {
        self.span.as_ref().map(|s| s.closed)
    }

    /// Every tail that ends above this is here; `None` before the first one.
    pub(super) fn since(&self) -> Option<i64> {
        self.span.as_ref().map(|s| s.since)
    }

    /// Whether a tail goes on where the last one ended, or overlaps it.
    pub(super) fn is_followed_by(&self, tail: &Tail) -> bool {
        self.span.as_ref().is_some_and(|s| tail.since <= s.end.txn_ts)
    }

    /// Adds a tail and forgets the oldest beyond `limit` bytes. After a gap only the new one is left.
    pub(super) fn push(&mut self, tail: Arc<Tail>, limit: usize) {
        let (end, closed) = (tail.end.clone(), tail.closed);
        let mut span = match self.span.take() {
            Some(span) if tail.since <= span.end.txn_ts => {
                Span { end: span.end.max(end), closed, ..span }
            }
            _ => {
                self.tails.clear();
                self.bytes = 0;
                Span { since: tail.since, end, closed }
            }
        };
        if !tail.changes.is_empty() {
            let bytes = weight(&tail);
            self.bytes += bytes;
            self.tails.push_back(Held { tail, bytes, rendered: Vec::new() });
        }
        while self.bytes > limit {
            let Some(oldest) = self.tails.pop_front() else { break };
            self.bytes -= oldest.bytes;
            span.since = span.since.max(reach(&oldest.tail));
        }
        self.span = Some(span);
        self.purse.set(self.bytes);
    }

    /// After a gap nothing that is held is worth holding.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.purse.clone());
        self.purse.set(0);
    }

    /// Whether every event behind `position` up to the closed timestamp is here.
    pub(super) fn covers(&self, position: &Position) -> bool {
        self.span.as_ref().is_some_and(|s| s.since < position.first_needed())
    }

    /// The tails that may hold events behind `position`.
    pub(super) fn behind<'a>(
        &'a self,
        position: &Position,
    ) -> impl Iterator<Item = &'a Arc<Tail>> + use<'a> {
        self.tails.range(self.first_behind(position)..).map(|held| &held.tail)
    }

    /// The same, to be rendered.
    pub(super) fn held_behind<'a>(
        &'a mut self,
        position: &Position,
    ) -> impl Iterator<Item = &'a mut Held> + use<'a> {
        let start = self.first_behind(position);
        self.tails.range_mut(start..)
    }

    fn first_behind(&self, position: &Position) -> usize {
        let needed = position.first_needed();
        self.tails.partition_point(|held| reach(&held.tail) < needed)
    }
}

impl Held {
    /// What was rendered of it for other streams, if all of that still waits for one of them.
    pub(super) fn rendered(&self, source: SourceId, format: &Format) -> Option<Vec<Arc<Chunk>>> {
        let one = self.rendered.iter().find(|one| one.is_of(source, format))?;
        one.chunks.iter().map(Weak::upgrade).collect()
    }

    /// It was rendered.
    pub(super) fn share(&mut self, source: SourceId, format: &Format, chunks: &[Arc<Chunk>]) {
        // What nobody has any more is not kept, not even its name.
        let is_had = |one: &Rendered| one.chunks.iter().any(|chunk| chunk.strong_count() > 0);
        self.rendered.retain(|one| is_had(one) && !one.is_of(source, format));
        let chunks = chunks.iter().map(Arc::downgrade).collect();
        self.rendered.push(Rendered { source, format: format.clone(), chunks });
    }
}

impl Rendered {
    fn is_of(&self, source: SourceId, format: &Format) -> bool {
        self.source == source && self.format == *format
    }
}

/// The last transaction of which a tail holds something. A large one comes cut into several tails,
/// and is closed only by the last of them.
fn reach(tail: &Tail) -> i64 {
    tail.changes
        .last()
        .map_or(tail.end.txn_ts, |change| tail.end.txn_ts.max(change.position.txn_ts))
}

/// About how many bytes a tail occupies; shapes are shared, see there.
fn weight(tail: &Tail) -> usize {
    let changes = tail.changes.list.iter().map(|change| {
        let TailChange { payload, seen_by, .. } = change;
        let seen_by = if seen_by.spilled() { size_of_val(seen_by.as_slice()) } else { 0 };
        allocated(payload.len()) + allocated(seen_by)
    });
    let own = size_of::<Tail>() + allocated(size_of_val(tail.changes.list.as_slice()));
    own + changes.sum::<usize>()
}

/// What an allocation of so many bytes takes: a header, in steps of sixteen, at least two of them.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + size_of::<usize>()).next_multiple_of(16).max(32) }
}
