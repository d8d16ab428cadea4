//! The bounded queue between the hub and a response body.
//!
//! The hub never waits for it: what does not fit is left in the log, and the queue tells when
//! there is room again. What waits beyond a little counts as held by the connection, whose other streams are not
//! given more of that meanwhile. Its lock is the innermost: nothing else is locked while it is held.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use event_source_model::cost::Cost;

use crate::budget::Account;
use crate::faults;

/// Above this a live stream counts as slow; 256 kB is some thousand events.
const LIMIT: usize = 256 * 1024;
/// Below this the log is asked for more.
const LOW: usize = 64 * 1024;
/// What is given out at once of a longer chunk, and what is never left over of one: a line end alone.
const PIECE: usize = 64 * 1024;
const CRUMB: usize = 1024;

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

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Of the connection.
    account: Account,
}

/// What a reader may be given at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Chunks are merged up to so many bytes.
    pub(super) merged: usize,
    /// It waits for as many, or for the end.
    pub(super) is_patient: bool,
    /// A longer chunk comes in pieces, of which each is asked for when there is room for it on the way. Where chunks
    /// come whole, one is on its way until the next is asked for.
    pub(super) in_pieces: bool,
}

#[derive(Debug, Default)]
struct Inner {
    /// Shared, so that what waits for a thousand readers that stand still is held once, their places too.
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// Of the whole chunk that was given out last.
    lent: usize,
    /// What the connection's account counts of it all.
    charged: usize,
    /// Whether something was taken since somebody asked.
    is_taken: bool,
    /// The first chunk is the rest of one.
    is_amid: bool,
    end: Option<Result<(), Broken>>,
    reader: Option<Waker>,
    /// The hub waits for room.
    awaited: bool,
}

impl Queue {
    pub(super) fn new(account: Account) -> Self {
        Self { inner: Mutex::default(), account }
    }

    /// Of the connection.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Takes all chunks, or none when they do not fit; then [`Queue::poll`] will report room.
    /// An empty queue takes anything while the connection holds little: an event larger than the limit must pass, too.
    /// A reader that waits is added to `readers`, and whoever has them wakes them.
    pub(super) fn offer(&self, chunks: &[Arc<Chunk>], readers: &mut Vec<Waker>) -> bool {
        let mut inner = self.lock();
        let size: usize = chunks.iter().map(|c| c.bytes.len()).sum();
        let fits =
            inner.bytes + size <= LIMIT || (inner.chunks.is_empty() && self.account.has_room());
        if !fits {
            inner.awaited = true;
            return false;
        }
        inner.add(chunks);
        inner.settle(&self.account);
        readers.extend(inner.reader.take());
        true
    }

    /// Takes all chunks, whatever is there.
    pub(super) fn push(&self, chunks: &[Arc<Chunk>]) {
        let mut inner = self.lock();
        inner.add(chunks);
        inner.settle(&self.account);
        inner.wake();
    }

    /// Whether there is room for a batch; if not, [`Queue::poll`] will report it.
    pub(super) fn has_room(&self) -> bool {
        let mut inner = self.lock();
        inner.awaited = inner.bytes > LOW;
        !inner.awaited
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// The same, and whether any were taken since this was asked before.
    pub(super) fn look(&self) -> (usize, bool) {
        let mut inner = self.lock();
        (inner.bytes, std::mem::take(&mut inner.is_taken))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().chunks.is_empty()
    }

    /// Drops what was not taken yet; whether that is the rest of a chunk of which a piece was.
    pub(super) fn clear(&self) -> bool {
        let mut inner = self.lock();
        inner.chunks.clear();
        inner.bytes = 0;
        inner.settle(&self.account);
        std::mem::take(&mut inner.is_amid)
    }

    /// Nothing comes after what is already there.
    pub(super) fn end(&self, how: Result<(), Broken>) {
        let mut inner = self.lock();
        inner.end.get_or_insert(how);
        inner.wake();
    }

    /// The next thing to send, and whether the hub must be told that there is room again, here or on the connection.
    pub(super) fn poll(&self, context: &Context<'_>, asked: Asked) -> (Poll<Next>, bool) {
        let mut inner = self.lock();
        // What was given out before is on its way by now.
        let is_freed = inner.lent > 0;
        inner.lent = 0;
        let waits = asked.is_patient && inner.bytes < asked.merged && inner.end.is_none();
        let chunk = if waits { None } else { inner.next(asked, &self.account) };
        let is_freed = inner.settle(&self.account) || is_freed;
        let Some(chunk) = chunk else {
            if let Some(end) = inner.end {
                return (Poll::Ready(Next::End(end)), false);
            }
            inner.reader = Some(context.waker().clone());
            return (Poll::Pending, is_freed);
        };
        inner.is_taken = true;
        let room = inner.awaited && inner.bytes <= LOW;
        if room {
            inner.awaited = false;
        }
        (Poll::Ready(Next::Chunk(chunk)), room || is_freed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        faults::lock(&self.inner)
    }
}

impl Inner {
    fn add(&mut self, chunks: &[Arc<Chunk>]) {
        self.bytes += chunks.iter().map(|c| c.bytes.len()).sum::<usize>();
        self.chunks.extend(chunks.iter().cloned());
    }

    /// What the connection's account counts is what is beyond a little; whether that became less, and the connection
    /// may be given more.
    fn settle(&mut self, account: &Account) -> bool {
        let owed = (self.bytes + self.lent).saturating_sub(LOW);
        let before = std::mem::replace(&mut self.charged, owed);
        if owed > before {
            account.lend(owed - before);
        } else if owed < before {
            account.give_back(before - owed);
        }
        owed < before && account.has_room()
    }

    fn next(&mut self, asked: Asked, account: &Account) -> Option<Chunk> {
        let is_long = |chunk: &Arc<Chunk>| chunk.bytes.len() > PIECE + CRUMB;
        if asked.in_pieces && self.chunks.front().is_some_and(is_long) {
            let mut rest = Arc::unwrap_or_clone(self.chunks.pop_front()?);
            // By itself: what waits in a shut window must not keep the whole.
            let bytes = account.purse().around(&*rest.bytes.split_to(PIECE));
            let piece = Chunk { bytes, ..rest };
            // They were told with the first piece.
            (rest.events, rest.cost) = (0, Cost::default());
            self.chunks.push_front(Arc::new(rest));
            self.bytes -= PIECE;
            self.is_amid = true;
            return Some(piece);
        }
        let chunk = self.merged(asked.merged)?;
        self.is_amid = false;
        if !asked.in_pieces {
            self.lent = chunk.bytes.len();
        }
        Some(chunk)
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

impl Drop for Queue {
    fn drop(&mut self) {
        // A lock that somebody panicked under is not needed any more.
        let inner = self.inner.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if inner.charged > 0 {
            self.account.give_back(inner.charged);
        }
    }
}
