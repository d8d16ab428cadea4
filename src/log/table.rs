//! A table of the log, open for inserting.
//!
//! Rows go in below the executor: no trigger, no rule and no row security stands between a change
//! and the log, and logical decoding does not see it (`HEAP_INSERT_NO_LOGICAL`), so that a FOR ALL
//! TABLES publication does not ship the log. The relation locks stay to the end of the transaction,
//! so that a segment cannot be emptied under a writer. Runs in the writers' backends.

use pgrx::pg_sys;

use super::form::Tuple;
use super::{retention, segment};
use crate::compat;
use crate::error::Result;
use crate::pg::relation::Relation;
use crate::pg::snapshot::ActiveSnapshot;

/// A row below this is never stored out of line, for which PostgreSQL wants a snapshot.
const SURELY_INLINE: usize = 1000;

#[derive(Debug)]
pub(super) struct Table {
    heap: Relation,
    index: Relation,
    info: pg_sys::IndexInfo,
    /// Bytes written, before they are compressed.
    written: u64,
}

impl Table {
    pub(super) fn open(oid: pg_sys::Oid) -> Result<Self> {
        let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        let heap = Relation::open_kept(oid, lock);
        let (index, info) = segment::index_of(&heap)?;
        let index = Relation::open_kept(index, lock);
        Ok(Self { heap, index, info, written: 0 })
    }

    pub(super) fn heap(&self) -> pg_sys::Relation {
        self.heap.as_ptr()
    }

    /// One heap row, of a number and columns of `bytea`, and its index entry.
    pub(super) fn insert(
        &mut self,
        number: u64,
        columns: &[Option<&[u8]>],
    ) -> pg_sys::ItemPointerData {
        let mut tuple = Tuple::of(number, columns);
        let mut heap_tuple = tuple.as_heap();
        // SAFETY: a tuple of the table's row type, which the segment was found to have.
        unsafe { insert_tuple(&self.heap, &mut heap_tuple) };
        let mut tid = heap_tuple.t_self;
        self.written += tuple.len() as u64;
        // SAFETY: the index is on the leading columns of the table, as the segment was found to have it. They
        // are read where they stand in the tuple, which is as it was but for its header.
        unsafe {
            let row = tuple.row();
            let leading: [_; segment::MOST_INDEXED] = std::array::from_fn(|at| row.column(at));
            let mut values = leading.map(|value| value.unwrap_or(pg_sys::Datum::null()));
            let mut nulls = leading.map(|value| value.is_none());
            compat::index_insert(
                self.index.as_ptr(),
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                &mut tid,
                self.heap.as_ptr(),
                &mut self.info,
            );
        }
        tid
    }

    /// Closes the table and counts what was written to it.
    pub(super) fn close(self) -> Result<()> {
        retention::wrote(self.written)
    }
}

/// One row into a table of ours that has no index, with a value for each of its columns.
pub(super) fn insert_only(heap: &Relation, columns: &[Option<pg_sys::Datum>]) {
    let (mut values, mut nulls): (Vec<_>, Vec<_>) =
        columns.iter().map(|c| (c.unwrap_or(pg_sys::Datum::null()), c.is_none())).unzip();
    // SAFETY: the arrays have one entry for each column of the table, of its type; the tuple is
    // freed after the insert has copied it.
    unsafe {
        debug_assert_eq!(values.len(), (*heap.tuple_desc()).natts as usize);
        let tuple =
            pg_sys::heap_form_tuple(heap.tuple_desc(), values.as_mut_ptr(), nulls.as_mut_ptr());
        insert_tuple(heap, tuple);
        pg_sys::heap_freetuple(tuple);
    }
}

/// PostgreSQL copies the tuple and writes into the one that it was given where the copy is.
///
/// # Safety
/// The tuple is of the table's row type.
unsafe fn insert_tuple(heap: &Relation, tuple: pg_sys::HeapTuple) {
    // SAFETY: the caller's; the table is open and locked.
    unsafe {
        let _snapshot = ((*tuple).t_len as usize > SURELY_INLINE).then(ActiveSnapshot::ensure);
        pg_sys::heap_insert(
            heap.as_ptr(),
            tuple,
            pg_sys::GetCurrentCommandId(true),
            pg_sys::HEAP_INSERT_NO_LOGICAL as i32,
            std::ptr::null_mut(),
        );
    }
}
