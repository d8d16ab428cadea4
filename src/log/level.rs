//! What a transaction captured at one savepoint level and did not write yet.
//!
//! Changes wait as the log stores them, one behind the other. A level grows to a **run**, see
//! [`super::runs`]: the more of them a transaction has, the larger they get, so that whoever reads it by
//! key has few to read at once. Pure: nothing of PostgreSQL is called here.

use event_source_model::payload;
use event_source_model::value::Value;
use pgrx::pg_sys;
use smallvec::SmallVec;

use super::buffer::Captured;

/// The changes of a larger transaction are in change rows, those of a smaller one in its stamp.
const MOST_CHANGES: usize = 100;
const MOST_BYTES: usize = 64 * 1024;
/// The size of the first runs, and how often it doubles: every so many runs, so many times.
const RUN_BYTES: usize = 1024 * 1024;
const RUNS: u32 = 16;
const DOUBLINGS: u32 = 3;
/// A transaction with more than this is read by key: its reader could not sort it in memory.
const MOST_SORTED_CHANGES: i64 = 10_000;
const MOST_SORTED_BYTES: usize = 32 * 1024 * 1024;

/// What a level that waits may hold, in a transaction that has written so many runs.
pub(super) fn largest(runs: u32) -> usize {
    RUN_BYTES << (runs / RUNS).min(DOUBLINGS)
}

#[derive(Debug)]
pub(super) struct Level {
    pub(super) subtransaction: pg_sys::SubTransactionId,
    /// Changes as the log stores them, one behind the other.
    pub(super) payload: Vec<u8>,
    /// How many changes there are in it.
    waiting: usize,
    /// Some of this level is in change rows already.
    pub(super) spilled: bool,
    /// What waits begins with what the level below has waiting.
    pub(super) has_below: bool,
    /// How many changes, in rows or waiting.
    pub(super) changes: i64,
    /// About how much they hold in the memory of who reads them.
    memory: usize,
    /// In order, each once.
    pub(super) collections: SmallVec<[u64; 2]>,
}

impl Level {
    pub(super) fn of(subtransaction: pg_sys::SubTransactionId) -> Self {
        Self {
            subtransaction,
            payload: Vec::new(),
            waiting: 0,
            spilled: false,
            has_below: false,
            changes: 0,
            memory: 0,
            collections: SmallVec::new(),
        }
    }

    pub(super) fn push(&mut self, captured: &Captured<'_>, fired: u64) {
        self.payload.reserve(payload::MOST_HEAD + captured.images.len());
        payload::Head {
            kind: captured.kind,
            rewrite: captured.rewrite,
            collection: captured.collection,
            command: captured.command,
            fired,
        }
        .put(&mut self.payload);
        self.payload.extend_from_slice(captured.images);
        self.waiting += 1;
        self.changes += 1;
        self.memory += captured.images.len() + captured.values * size_of::<Value>();
        self.touch(captured.collection);
    }

    fn touch(&mut self, collection: u64) {
        if let Err(at) = self.collections.binary_search(&collection) {
            self.collections.insert(at, collection);
        }
    }

    /// Whether all of it fits into its transaction's stamp.
    pub(super) fn is_small(&self) -> bool {
        !self.spilled && self.waiting <= MOST_CHANGES && self.payload.len() <= MOST_BYTES
    }

    /// What waits, to be written as a run.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.spilled = true;
        self.waiting = 0;
        std::mem::take(&mut self.payload)
    }

    /// Only what is in change rows can be read by key.
    pub(super) fn is_huge(&self) -> bool {
        let huge = self.changes > MOST_SORTED_CHANGES || self.memory > MOST_SORTED_BYTES;
        self.spilled && huge
    }

    /// Takes over a level above, of which nothing can be taken back alone any more.
    pub(super) fn absorb(&mut self, child: Self) {
        if child.has_below {
            self.take();
        }
        self.payload.extend_from_slice(&child.payload);
        self.waiting += child.waiting;
        self.spilled |= child.spilled;
        self.changes += child.changes;
        self.memory += child.memory;
        child.collections.into_iter().for_each(|collection| self.touch(collection));
    }
}
