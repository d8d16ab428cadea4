//! A page of a table, pinned: it stays in memory, and the rows on it stay where they are.

use pgrx::pg_sys;

use super::relation::Relation;

/// Unpinned when this is dropped.
#[derive(Debug)]
pub struct Page {
    buffer: pg_sys::Buffer,
    block: pg_sys::BlockNumber,
}

impl Page {
    /// Raises PostgreSQL's own error when there is no such page.
    pub fn read(relation: &Relation, block: pg_sys::BlockNumber) -> Self {
        // SAFETY: the relation is open.
        let buffer = unsafe { pg_sys::ReadBuffer(relation.as_ptr(), block) };
        Self { buffer, block }
    }

    pub fn block(&self) -> pg_sys::BlockNumber {
        self.block
    }

    pub fn buffer(&self) -> pg_sys::Buffer {
        self.buffer
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner lets go of it.
        if !std::thread::panicking() {
            // SAFETY: pinned by this handle and unpinned only here.
            unsafe { pg_sys::ReleaseBuffer(self.buffer) }
        }
    }
}
