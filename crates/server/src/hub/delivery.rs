//! How events reach the streams: live from a tail, from memory, or from the log in batches.
//!
//! Exactness rests on three facts. Messages of the worker are handled in the order in which they
//! come, under one lock. A batch that is `live` is up to date with every tail before it. And an
//! event at or before a stream's position is never queued. Nor is one once the stream's time is over.

use std::sync::Arc;
use std::time::Instant;

use event_source_door::message::{Batch, Tail};
use event_source_model::cost::Cost;
use event_source_model::encoding::Damaged;
use event_source_model::event::{EventType, Reason, Refusal, View};
use event_source_model::events::Events;
use event_source_model::net::NetChange;
use event_source_model::position::Position;
use event_source_wire::shown::Shown;

use super::memory::Held;
use super::queue::Chunk;
use super::recover::fault;
use super::renderer::Format;
use super::sighting::{self, Sighting};
use super::state::State;
use super::stream::{Phase, Stream, StreamId};
use crate::budget::Account;
use crate::clock;
use crate::faults::{self, Point};

impl State {
    /// Hands a tail to every live stream that sees something of it, and keeps it.
    pub(super) fn tail(&mut self, mut tail: Tail, memory_limit: usize) {
        self.shapes.share(&mut tail.changes.shapes);
        let tail = Arc::new(tail);
        for (collection, cost) in &tail.looked_at {
            *self.looked_at.entry(*collection).or_default() += *cost;
        }
        let followed = self.memory.is_followed_by(&tail);
        if !followed && self.memory.end().is_some() {
            self.leave_gap();
        }
        let before = self.memory.end().cloned().unwrap_or_else(|| Position::after(tail.since));
        let (now, moment) = (clock::now(), Instant::now());
        let (mut slow, mut over, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        let sightings = sighting::by_source(&tail);
        for seen in sightings.chunk_by(|one, next| one.source == next.source) {
            let Some(followers) = self.followers.get(&seen[0].source) else { continue };
            let (first, last) = (seen[0].position(&tail), seen[seen.len() - 1].position(&tail));
            for (format, ids) in &followers.formats {
                let mut shared: Option<Result<Vec<Arc<Chunk>>, Unwritten>> = None;
                for id in ids {
                    let Some(stream) = self.streams.get_mut(*id) else { continue };
                    if stream.phase != Phase::Live {
                        continue;
                    }
                    if stream.is_over(now) {
                        over.push(*id);
                        continue;
                    }
                    let is_shared = stream.is_ordinary() && *first > before;
                    let own;
                    let chunks = if is_shared && *first > stream.position {
                        let micros = micros(&tail, stream.collection);
                        &*shared.get_or_insert_with(|| {
                            render(format, &followers.view, &tail, seen, micros, &stream.owner)
                        })
                    } else {
                        stream.advance(before.clone());
                        own = render_wanted(stream, &tail, seen);
                        &own
                    };
                    match chunks {
                        Ok(chunks) if stream.offer(chunks, moment, &mut self.readers) => {
                            stream.advance(last.clone());
                        }
                        Ok(_) => {
                            stream.advance(before.clone());
                            slow.push(*id);
                        }
                        Err(why) => damaged.push((*id, *why)),
                    }
                }
            }
        }
        self.memory.push(tail, memory_limit);
        self.end_over(over);
        for (id, why) in damaged {
            self.end(id, &why.refusal());
        }
        for id in slow {
            self.fall_behind(id);
        }
    }

    /// Brings a stream up to date: from memory if that reaches back far enough, else from the log.
    pub(super) fn catch_up(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.is_over(clock::now()) {
            return self.end_over(vec![id]);
        }
        if stream.position.rows_behind().is_some() {
            return self.read(id);
        }
        let matched = stream.matched_since < stream.position.first_needed();
        if !matched || !self.memory.covers(&stream.position) {
            self.read(id);
            return;
        }
        stream.enter(Phase::Full, self.looked_at.get(&stream.collection));
        let mut tails = self.memory.held_behind(&stream.position);
        let done = tails.try_for_each(|held| remember(stream, held));
        drop(tails);
        match done {
            Ok(()) => stream.enter(Phase::Live, self.looked_at.get(&stream.collection)),
            Err(Stopped::Full) if stream.queue.has_room() => self.wait_for_turn(id),
            Err(Stopped::Full) => {}
            Err(Stopped::Unwritten(why)) => self.end(id, &why.refusal()),
        }
    }

    /// A piece of the log for a stream that asked for it.
    pub(super) fn batch(&mut self, id: StreamId, mut batch: Batch) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.is_over(clock::now()) {
            return self.end_over(vec![id]);
        }
        let is_of_log = stream.position.rows_behind().is_none();
        // Somebody has locked the table whose rows were asked for: asked again with the next tick.
        let is_later = !is_of_log && batch.position == stream.position;
        let events = std::mem::take(&mut batch.events);
        let count = events.len();
        let Rendered { chunks, bytes, damaged } =
            render_batch(stream, events, batch.cost.micros_each(), is_of_log);
        stream.spend(Cost { bytes: batch.cost.bytes + bytes, ..batch.cost });
        stream.push(&chunks);
        stream.came(count);
        if let Some(damaged) = damaged {
            return self.end(id, &damaged.refusal());
        }
        if is_of_log {
            stream.advance(batch.position);
        } else {
            stream.advance_in_snapshot(batch.position);
        }
        if let Some(refusal) = batch.error {
            self.end(id, &refusal);
        } else if batch.goes_on {
            // The worker is at its next part already.
            self.read_ahead(id);
        } else if batch.live {
            stream.enter(Phase::Live, self.looked_at.get(&stream.collection));
        } else if stream.queue.has_room() && !is_later {
            self.catch_up(id);
        } else {
            stream.phase = Phase::Full;
        }
    }

    /// Streams that wait for nothing but that it is tried again.
    pub(super) fn try_again(&mut self) {
        // Those that wait for their turn are given it.
        let waiting = self.streams.values().filter(|stream| stream.waits.is_some());
        let mut turns: Vec<_> = waiting.map(|stream| stream.queue.account().clone()).collect();
        turns.sort_unstable_by_key(Account::id);
        turns.dedup_by_key(|account| account.id());
        self.freed.append(&mut turns);
        let waits = |stream: &&Stream| {
            stream.phase == Phase::Full && stream.waits.is_none() && stream.queue.has_room()
        };
        let ids: Vec<StreamId> = self.streams.values().filter(waits).map(|s| s.id).collect();
        ids.into_iter().for_each(|id| self.catch_up(id));
    }

    /// Takes a stream out of the live ones; it goes on from the log when its queue has room.
    fn fall_behind(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.enter(Phase::Full, self.looked_at.get(&stream.collection));
        if stream.queue.has_room() {
            self.catch_up(id);
        }
    }

    /// The worker left something out of the tail: the live streams fetch it from the log.
    pub(super) fn leave_gap(&mut self) {
        let Some(end) = self.memory.end().cloned() else { return };
        let live = |s: &&mut Stream| s.phase == Phase::Live;
        let ids: Vec<StreamId> = self
            .streams
            .values_mut()
            .filter(live)
            .map(|stream| {
                stream.advance(end.clone());
                stream.id
            })
            .collect();
        self.memory.forget();
        for id in ids {
            self.fall_behind(id);
        }
    }
}

/// Why a stream does not get what is remembered for it.
enum Stopped {
    /// It goes on from the log when there is room.
    Full,
    Unwritten(Unwritten),
}

/// Why events cannot be written.
#[derive(Clone, Copy, Debug)]
enum Unwritten {
    Damaged(Damaged),
    Fault,
}

impl Unwritten {
    /// The end of a stream whose events they are.
    fn refusal(self) -> Refusal {
        match self {
            Self::Damaged(damaged) => Refusal::new(Reason::Internal, damaged.to_string()),
            Self::Fault => fault(),
        }
    }
}

impl From<Damaged> for Unwritten {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

/// What a protocol writes; a panic there is its stream's alone.
fn written<T>(write: impl FnOnce() -> Result<T, Unwritten>) -> Result<T, Unwritten> {
    let written = faults::caught("a stream", || {
        faults::pass(Point::Event);
        write()
    });
    written.unwrap_or(Err(Unwritten::Fault))
}

/// Gives a stream what it wants of a tail in memory.
fn remember(stream: &mut Stream, held: &mut Held) -> Result<(), Stopped> {
    if !stream.queue.has_room() || !stream.queue.account().has_room() {
        return Err(Stopped::Full);
    }
    let tail = &held.tail;
    let seen = sighting::by(tail, stream.source);
    let first = seen.first().map(|first| first.position(tail));
    let wants_all = first.is_some_and(|first| *first > stream.position);
    let chunks = if wants_all && stream.is_ordinary() {
        whole(stream, held, &seen)
    } else {
        render_wanted(stream, tail, &seen)
    };
    let tail = &held.tail;
    let chunks = chunks.map_err(Stopped::Unwritten)?;
    stream.push(&chunks);
    if let Some(last) = seen.last() {
        stream.advance(last.position(tail).clone());
    }
    stream.advance(tail.end.clone());
    Ok(())
}

/// All that an ordinary stream sees of a tail in memory.
fn whole(
    stream: &Stream,
    held: &mut Held,
    seen: &[Sighting],
) -> Result<Vec<Arc<Chunk>>, Unwritten> {
    let Stream { source, format, view, owner, .. } = stream;
    if let Some(chunks) = held.rendered(*source, format) {
        return Ok(chunks);
    }
    let micros = micros(&held.tail, stream.collection);
    let chunks = render(format, view, &held.tail, seen, micros, owner)?;
    held.share(*source, format, &chunks);
    Ok(chunks)
}

/// What became of a batch.
struct Rendered {
    chunks: Vec<Arc<Chunk>>,
    /// Of the rows of its events, which the worker has not counted.
    bytes: u64,
    /// Where it could not be read on.
    damaged: Option<Unwritten>,
}

/// A piece of the log, or of the rows of a snapshot, up to what of it cannot be read.
fn render_batch(stream: &Stream, events: Events, micros: u64, is_of_log: bool) -> Rendered {
    let mut writing = stream.format.writing(&stream.view, micros, &stream.owner);
    let is_ordinary = stream.is_ordinary();
    let mut bytes = 0;
    let written = written(|| {
        for event in events.into_iter(stream.format.sides()) {
            let mut event = event?;
            bytes += Cost::of_event(&event).bytes;
            if is_of_log {
                if !stream.wants(&event.position) {
                    continue;
                }
                if !is_ordinary {
                    event.position = stream.stamp(event.position);
                }
            }
            writing.event(Shown::from(&event));
        }
        Ok(())
    });
    let chunks = match &written {
        // What it was writing may be half an event.
        Err(Unwritten::Fault) => Vec::new(),
        _ => writing.end(),
    };
    Rendered { chunks, bytes, damaged: written.err() }
}

/// What a stream wants of a tail, rendered for it alone.
fn render_wanted(
    stream: &Stream,
    tail: &Tail,
    seen: &[Sighting],
) -> Result<Vec<Arc<Chunk>>, Unwritten> {
    let micros = micros(tail, stream.collection);
    let mut writing = stream.format.writing(&stream.view, micros, &stream.owner);
    written(|| {
        for seen in seen {
            let position = seen.position(tail);
            if stream.wants(position) {
                let change = seen.decode(tail, stream.format.sides())?;
                writing.event(shown(&stream.stamp(position.clone()), &change, seen.kind));
            }
        }
        Ok(writing.end())
    })
}

/// What all ordinary streams of a source get of a tail.
fn render(
    format: &Format,
    view: &View,
    tail: &Tail,
    seen: &[Sighting],
    micros: u64,
    owner: &Account,
) -> Result<Vec<Arc<Chunk>>, Unwritten> {
    let mut writing = format.writing(view, micros, owner);
    written(|| {
        for seen in seen {
            let change = seen.decode(tail, format.sides())?;
            writing.event(shown(seen.position(tail), &change, seen.kind));
        }
        Ok(writing.end())
    })
}

/// What a change of the collection took in a tail.
fn micros(tail: &Tail, collection: u64) -> u64 {
    let cost = tail.looked_at.iter().find(|(looked_at, _)| *looked_at == collection);
    cost.map_or(0, |(_, cost)| cost.micros_each())
}

fn shown<'a>(position: &'a Position, change: &'a NetChange, kind: EventType) -> Shown<'a> {
    Shown {
        kind,
        position,
        key: change.key.as_ref(),
        before: change.before.as_ref(),
        after: change.after.as_ref(),
    }
}
