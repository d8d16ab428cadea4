//! One stream: where it is, and from where it gets what comes next.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use event_source_door::message::{GrantId, Opened, RequestId, SourceId};
use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_model::source::Start;

use super::outgoing::Class;
use super::queue::{Broken, Chunk, Queue};
use super::renderer::Format;
use crate::budget::Account;

pub(super) type StreamId = u64;

/// The size of the first batch; later ones follow the size of the events.
pub(super) const FIRST_BATCH: u32 = 64;
const LARGEST_BATCH: usize = 4000;
/// What a batch should come to once rendered.
const BATCH_BYTES: usize = 512 * 1024;

/// From where a stream gets its next events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// From each tail. It stands at its own position or where the tail ends, whichever is later.
    Live,
    /// From a batch that the worker was asked for, of which so many events have not come yet.
    Reading { request: RequestId, left: u32 },
    /// From the log, once its queue has room.
    Full,
}

/// Whose a stream is.
#[derive(Debug)]
pub(super) struct Of {
    pub(super) connection: Account,
    pub(super) owner: Account,
    pub(super) class: Class,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) source: SourceId,
    pub(super) grant: GrantId,
    pub(super) format: Format,
    pub(super) view: Arc<View>,
    pub(super) queue: Arc<Queue>,
    /// Of the role as which the source is read.
    pub(super) owner: Account,
    /// Whose requests its reads are in turn with.
    pub(super) class: Class,
    /// What came for it and found no room.
    pub(super) needs: usize,
    /// Since when it waits for its turn to be read from the log.
    pub(super) waits: Option<Instant>,
    pub(super) phase: Phase,
    /// Everything up to here was queued.
    pub(super) position: Position,
    /// Transactions that the token's statement had seen; `None` once the position is past them.
    skip: Option<Skip>,
    pub(super) matched_since: i64,
    /// Microseconds since 1970.
    pub(super) expires: Option<i64>,
    /// When something was last queued.
    pub(super) last_word: Instant,
    /// How many events the next batch may have.
    pub(super) batch: u32,
    /// See [`State::looked_at`](super::state::State::looked_at).
    pub(super) collection: u64,
    spent: Spent,
}

/// What was read for a stream since its last status.
#[derive(Debug, Default)]
struct Spent {
    /// In batches, and in the tail while it was live before.
    read: Cost,
    /// What was looked at for its collection when it became live, or said its last status.
    mark: Cost,
    /// Of the events that were queued, which said so themselves.
    said: Cost,
}

impl Stream {
    pub(super) fn new(id: StreamId, opened: Opened, format: Format, of: Of) -> Self {
        let skip = opened.position.skipping.map(|token| Skip { token, start: opened.start });
        let mut stream = Self {
            id,
            source: opened.source,
            grant: opened.grant,
            format,
            view: Arc::new(opened.view),
            queue: Arc::new(Queue::new(of.connection)),
            owner: of.owner,
            class: of.class,
            waits: None,
            needs: 0,
            phase: Phase::Full,
            position: opened.position,
            skip,
            matched_since: opened.matched_since,
            expires: opened.expires,
            last_word: Instant::now(),
            batch: FIRST_BATCH,
            collection: opened.collection,
            spent: Spent::default(),
        };
        stream.position = stream.stamp(stream.position.clone());
        let first = stream.format.first(&stream.view, &stream.position, Cost::default());
        stream.say(first);
        stream
    }

    /// Whether an event is still to be sent.
    pub(super) fn wants(&self, position: &Position) -> bool {
        *position > self.position
            && !self.skip.as_ref().is_some_and(|s| s.start.saw(position.txn_ts))
    }

    /// Whether every event behind the position is wanted, and shown to all with the same cursor.
    pub(super) fn is_ordinary(&self) -> bool {
        self.skip.is_none() && self.position.snapshot.is_none()
    }

    /// The position as this stream's cursors carry it: what is still to be skipped by a reader
    /// that resumes there is part of it, and what it saw of the rows that it began with.
    pub(super) fn stamp(&self, position: Position) -> Position {
        let skip = self.skip.as_ref().filter(|s| position < s.end());
        let position = Position { skipping: skip.map(|s| s.token), ..position };
        position.having_seen(self.position.snapshot.clone())
    }

    /// Moves on, never back.
    pub(super) fn advance(&mut self, position: Position) {
        if position > self.position {
            self.position = self.stamp(position);
            if self.position.skipping.is_none() {
                self.skip = None;
            }
        }
    }

    /// Moves on behind rows of the snapshot, and says so behind the last one.
    pub(super) fn advance_in_snapshot(&mut self, position: Position) {
        self.position = position;
        if self.position.rows_behind().is_none() {
            self.say(self.format.complete(&self.view, &self.position));
        }
    }

    /// Queues events unless the queue is full. It is `now`; a reader that waits for them is added to `readers`.
    pub(super) fn offer(
        &mut self,
        chunks: &[Arc<Chunk>],
        now: Instant,
        readers: &mut Vec<Waker>,
    ) -> bool {
        let taken = self.queue.offer(chunks, readers);
        if taken {
            self.count(chunks, now);
        }
        taken
    }

    /// Goes into another phase. While it is live, what is looked at for its collection is for it.
    pub(super) fn enter(&mut self, phase: Phase, looked_at: Option<&Cost>) {
        self.settle(looked_at);
        self.phase = phase;
        if phase != Phase::Full {
            self.waits = None;
        }
    }

    fn settle(&mut self, looked_at: Option<&Cost>) {
        let looked_at = looked_at.copied().unwrap_or_default();
        if self.phase == Phase::Live {
            self.spent.read += looked_at.without(self.spent.mark);
        }
        self.spent.mark = looked_at;
    }

    /// Something was read for this stream alone.
    pub(super) fn spend(&mut self, cost: Cost) {
        self.spent.read += cost;
    }

    /// Queues a batch, and learns from it how large the next one may be.
    pub(super) fn push(&mut self, chunks: &[Arc<Chunk>]) {
        self.queue.push(chunks);
        self.count(chunks, Instant::now());
        let events: usize = chunks.iter().map(|c| c.events as usize).sum();
        let bytes: usize = chunks.iter().map(|c| c.bytes.len()).sum();
        if let Some(average) = bytes.checked_div(events) {
            // A reader that has taken what it was given gets twice as much; one that stands still holds
            // little.
            let most = (BATCH_BYTES / average.max(1)).clamp(1, LARGEST_BATCH) as u32;
            self.batch = (self.batch * 2).min(most);
        }
    }

    /// Some events of the batch that is read have come.
    pub(super) fn came(&mut self, events: usize) {
        if let Phase::Reading { left, .. } = &mut self.phase {
            *left = left.saturating_sub(events as u32);
        }
    }

    /// Says where the stream is, and what was read for it and filtered out.
    pub(super) fn say_status(&mut self, looked_at: Option<&Cost>) {
        self.settle(looked_at);
        let Spent { read, said, .. } = &mut self.spent;
        let cost = std::mem::take(read).without(std::mem::take(said));
        self.say(self.format.quiet(&self.view, &self.position, cost));
    }

    /// Queues what is no event. A protocol may have no word for it.
    fn say(&mut self, chunk: Chunk) {
        if !chunk.bytes.is_empty() {
            self.queue.push(&[Arc::new(chunk)]);
        }
        self.last_word = Instant::now();
    }

    /// Whether its time is over. `now` is in microseconds since 1970.
    pub(super) fn is_over(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Says why nothing more comes, in the protocol's way. Events that wait in the queue are written
    /// before it unless it is for the lack of rights.
    pub(super) fn end(&self, refusal: &Refusal) {
        if refusal.reason.is_loss_of_rights() {
            return self.give_up(refusal);
        }
        self.queue.push(&[Arc::new(self.format.last(&self.view, refusal))]);
        self.queue.end(Ok(()));
    }

    /// The same, and drops the events that wait. One that was begun cannot be ended: then the stream is cut.
    pub(super) fn give_up(&self, refusal: &Refusal) {
        if self.queue.clear() {
            return self.cut();
        }
        self.queue.push(&[Arc::new(self.format.last(&self.view, refusal))]);
        self.queue.end(Ok(()));
    }

    /// Cuts the connection without a clean end.
    pub(super) fn cut(&self) {
        self.queue.end(Err(Broken));
    }

    fn count(&mut self, chunks: &[Arc<Chunk>], now: Instant) {
        if !chunks.is_empty() {
            chunks.iter().for_each(|chunk| self.spent.said += chunk.cost);
            self.last_word = now;
        }
    }
}

/// What a stream that began where its token does must not be sent.
#[derive(Debug)]
struct Skip {
    /// The token's id.
    token: u64,
    start: Start,
}

impl Skip {
    /// Behind the last transaction to be skipped.
    fn end(&self) -> Position {
        Position::after(self.start.seen.last().copied().unwrap_or(self.start.closed))
    }
}
