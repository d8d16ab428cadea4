//! The bounded queue between the hub and a response body.
//!
//! The hub never waits for it: what does not fit is left in the log, and the queue tells when
//! there is room again. Its lock is the innermost: nothing else is locked while it is held.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use event_source_model::cost::Cost;

/// Above this a live stream counts as slow; 256 kB is some thousand events.
const LIMIT: usize = 256 * 1024;
/// Below this the log is asked for more.
const LOW: usize = 64 * 1024;

/// Whole events, ready for the wire; shared by all streams that get the same.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub bytes: Bytes,
    /// How many events are in it; a status is none.
    pub events: u32,
    /// What reading them took.
    pub cost: Cost,
}

/// The stream was cut rather than ended, so that the client resumes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the stream was cut")]
pub struct Broken;

/// What a reader finds.
#[derive(Debug)]
pub enum Next {
    Chunk(Chunk),
    End(Result<(), Broken>),
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Shared, so that what waits for a thousand readers that stand still is held once, their places too.
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    end: Option<Result<(), Broken>>,
    reader: Option<Waker>,
    /// The hub waits for room.
    awaited: bool,
}

impl Queue {
    /// Takes all chunks, or none when they do not fit; then [`Queue::poll`] will report room.
    /// An empty queue takes anything: an event larger than the limit must pass, too. A reader that waits
    /// is added to `readers`, and whoever has them wakes them.
    pub(super) fn offer(&self, chunks: &[Arc<Chunk>], readers: &mut Vec<Waker>) -> bool {
        let mut inner = self.lock();
        let size: usize = chunks.iter().map(|c| c.bytes.len()).sum();
        if !inner.chunks.is_empty() && inner.bytes + size > LIMIT {
            inner.awaited = true;
            return false;
        }
        inner.add(chunks);
        readers.extend(inner.reader.take());
        true
    }

    /// Takes all chunks, whatever is there.
    pub(super) fn push(&self, chunks: &[Arc<Chunk>]) {
        let mut inner = self.lock();
        inner.add(chunks);
        inner.wake();
    }

    /// Whether there is room for a batch; if not, [`Queue::poll`] will report it.
    pub(super) fn has_room(&self) -> bool {
        let mut inner = self.lock();
        inner.awaited = inner.bytes > LOW;
        !inner.awaited
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().chunks.is_empty()
    }

    /// Drops what was not taken yet.
    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.chunks.clear();
        inner.bytes = 0;
    }

    /// Nothing comes after what is already there.
    pub(super) fn end(&self, how: Result<(), Broken>) {
        let mut inner = self.lock();
        inner.end.get_or_insert(how);
        inner.wake();
    }

    /// The next thing to send, chunks merged up to `most` bytes, and whether the hub must be told that
    /// there is room again. A reader that is patient waits for as many bytes, or for the end.
    pub(super) fn poll(
        &self,
        context: &Context<'_>,
        most: usize,
        is_patient: bool,
    ) -> (Poll<Next>, bool) {
        let mut inner = self.lock();
        let waits = is_patient && inner.bytes < most && inner.end.is_none();
        let Some(chunk) = (if waits { None } else { inner.merged(most) }) else {
            if let Some(end) = inner.end {
                return (Poll::Ready(Next::End(end)), false);
            }
            inner.reader = Some(context.waker().clone());
            return (Poll::Pending, false);
        };
        let room = inner.awaited && inner.bytes <= LOW;
        if room {
            inner.awaited = false;
        }
        (Poll::Ready(Next::Chunk(chunk)), room)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the queue's lock panics")
    }
}

impl Inner {
    fn add(&mut self, chunks: &[Arc<Chunk>]) {
        self.bytes += chunks.iter().map(|c| c.bytes.len()).sum::<usize>();
        self.chunks.extend(chunks.iter().cloned());
    }

    /// The first chunk with those behind it that fit.
    fn merged(&mut self, most: usize) -> Option<Chunk> {
        let mut chunk = Arc::unwrap_or_clone(self.chunks.pop_front()?);
        let fits = |size: usize, next: &Chunk| size + next.bytes.len() <= most;
        if self.chunks.front().is_some_and(|next| fits(chunk.bytes.len(), next)) {
            let mut bytes = BytesMut::from(&*chunk.bytes);
            while self.chunks.front().is_some_and(|next| fits(bytes.len(), next)) {
                let Some(next) = self.chunks.pop_front() else { break };
                bytes.extend_from_slice(&next.bytes);
                chunk.events += next.events;
                chunk.cost += next.cost;
            }
            chunk.bytes = bytes.freeze();
        }
        self.bytes -= chunk.bytes.len();
        Some(chunk)
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
