//! Rows into a segment, below the executor.
//!
//! No trigger, no rule and no row security stands between a change and the log, and logical
//! decoding does not see it (`HEAP_INSERT_NO_LOGICAL`), so that a FOR ALL TABLES publication does
//! not ship the log. The relation lock stays to the end of the transaction, so that a segment
//! cannot be emptied under a writer.

use std::cell::Cell;

use event_source_model::change::{self, Change};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;
use sha2::{Digest as _, Sha256};

use super::{retention, scan, segment};
use crate::compat;
use crate::error::Result;
use crate::pg::relation::Relation;
use crate::pg::snapshot::ActiveSnapshot;

/// A btree entry must stay below a third of a page.
const LONGEST_PLACE: usize = 1000;

/// A stamp row to be written.
#[derive(Debug)]
pub struct NewStamp<'a> {
    /// The transaction that it stamps: the writer's own, or a prepared one.
    pub xid: i64,
    pub txn_ts: i64,
    pub closed: i64,
    pub history: u64,
    pub segment: usize,
    pub collections: &'a [u64],
    pub changes: i64,
    pub by_key: bool,
    /// No transaction: the log begins behind it.
    pub floor: bool,
    pub payload: Option<Vec<u8>>,
}

/// Where a stamp row was written, so that it can be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    table: pg_sys::Oid,
    tid: pg_sys::ItemPointerData,
}

/// Writes a stamp row.
pub fn stamp(new: NewStamp<'_>) -> Result<Written> {
    let table = Table::open(segment::stamp_table(new.segment)?)?;
    let collections: Vec<i64> = new.collections.iter().map(|&c| c as i64).collect();
    // SAFETY: reads the system clock.
    let committed_at = unsafe { pg_sys::GetCurrentTimestamp() };
    let tid = table.insert(&[
        Some(new.txn_ts.into()),
        Some(new.xid.into()),
        Some(new.closed.into()),
        Some((new.history as i64).into()),
        Some((new.segment as i16).into()),
        collections.into_datum(),
        Some(new.changes.into()),
        Some(new.by_key.into()),
        Some(new.floor.into()),
        Some(committed_at.into()),
        new.payload.as_deref().and_then(IntoDatum::into_datum),
    ]);
    retention::wrote(table.written.get())?;
    Ok(Written { table: table.heap.oid(), tid })
}

/// Takes back a stamp row that this transaction wrote: it captured more and gets a new stamp.
pub fn take_back(mut written: Written) {
    let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    let heap = Relation::open_kept(written.table, lock);
    let _snapshot = ActiveSnapshot::ensure();
    // SAFETY: the row was written by an earlier command of this transaction, hence the counter.
    unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::simple_heap_delete(heap.as_ptr(), &mut written.tid);
    }
}

/// Writes a row of the log again with other columns, for a redaction: nothing else changes the log.
pub fn replace(
    table: pg_sys::Oid,
    mut tid: pg_sys::ItemPointerData,
    columns: &mut [Option<pg_sys::Datum>],
) -> Result<()> {
    let table = Table::open(table)?;
    // Before the old row goes: a column that is stored beside it is fetched from there.
    table.insert(columns);
    // SAFETY: the row is one that the caller's snapshot sees, and redactions take turns.
    unsafe { pg_sys::simple_heap_delete(table.heap.as_ptr(), &mut tid) };
    Ok(())
}

/// Writes changes as rows of their own.
pub fn changes(segment: usize, changes: Vec<Change>) -> Result<()> {
    let table = Table::open(segment::change_table(segment)?)?;
    for change in changes.into_iter().flat_map(Change::split_moved_key) {
        let place = place(&change);
        let encoded = change::encode(std::slice::from_ref(&change));
        // Each of these may be 100 MB: none is kept longer than the next one needs it.
        drop(change);
        let payload = encoded.as_slice().into_datum();
        drop(encoded);
        table.insert(&[Some(top_xid().into()), place.as_slice().into_datum(), payload]);
    }
    retention::wrote(table.written.get())
}

/// Where a change stands in a transaction too large to be sorted in memory: collection, then key.
/// Rows without a key stand in the order of the commands.
fn place(change: &Change) -> Vec<u8> {
    let mut place = change.collection.to_be_bytes().to_vec();
    if change.rewrite {
        // Beside what the transaction did to the row, so that a reader can stop between the two.
        place = u64::MAX.to_be_bytes().to_vec();
    }
    if change.is_schema_break() {
        // Before everything else of its collection, in place of which it is told.
        return place;
    }
    match change.key() {
        Some(key) => {
            let key = key.sort_bytes();
            if key.len() <= LONGEST_PLACE {
                place.extend(key);
            } else {
                place.extend(&key[..LONGEST_PLACE]);
                place.extend(Sha256::digest(&key));
            }
        }
        None => {
            let (command, is_there_after, fired) = change.place_in_transaction();
            place.extend(command.to_be_bytes());
            place.push(u8::from(is_there_after));
            place.extend(fired.to_be_bytes());
        }
    }
    place
}

/// The 64-bit number of the top-level transaction, which all its rows carry.
pub fn top_xid() -> i64 {
    // SAFETY: in a transaction that writes.
    let xid = unsafe { pg_sys::GetTopFullTransactionId() };
    xid.value as i64
}

/// A table of the log, open for inserting.
struct Table {
    heap: Relation,
    index: Relation,
    info: *mut pg_sys::IndexInfo,
    /// Bytes written, before they are compressed.
    written: Cell<u64>,
    /// A payload may be stored out of line, which PostgreSQL does under a snapshot only.
    _snapshot: Option<ActiveSnapshot>,
}

impl Table {
    fn open(oid: pg_sys::Oid) -> Result<Self> {
        let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        let heap = Relation::open_kept(oid, lock);
        let index = Relation::open_kept(scan::only_index(&heap)?, lock);
        // SAFETY: the index is open; the result lives in the current memory context.
        let info = unsafe { pg_sys::BuildIndexInfo(index.as_ptr()) };
        let snapshot = ActiveSnapshot::ensure();
        Ok(Self { heap, index, info, written: Cell::new(0), _snapshot: snapshot })
    }

    /// One heap row and its index entry. The index is on the leading columns of the table.
    fn insert(&self, columns: &[Option<pg_sys::Datum>]) -> pg_sys::ItemPointerData {
        let (mut tid, bytes) = insert_row(&self.heap, columns);
        self.written.set(self.written.get() + bytes);
        let (mut values, mut nulls) = split(columns);
        // SAFETY: the arrays have one entry for each column of the table, of its type.
        unsafe {
            compat::index_insert(
                self.index.as_ptr(),
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                &mut tid,
                self.heap.as_ptr(),
                self.info,
            );
        }
        tid
    }
}

/// One heap row, unseen by logical decoding: where it is and its bytes, before compression.
pub(super) fn insert_row(
    heap: &Relation,
    columns: &[Option<pg_sys::Datum>],
) -> (pg_sys::ItemPointerData, u64) {
    let (mut values, mut nulls) = split(columns);
    // SAFETY: the arrays have one entry for each column of the table, of its type; the tuple is
    // freed after the insert has copied it.
    unsafe {
        debug_assert_eq!(values.len(), (*heap.tuple_desc()).natts as usize);
        let tuple =
            pg_sys::heap_form_tuple(heap.tuple_desc(), values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::heap_insert(
            heap.as_ptr(),
            tuple,
            pg_sys::GetCurrentCommandId(true),
            pg_sys::HEAP_INSERT_NO_LOGICAL as i32,
            std::ptr::null_mut(),
        );
        let written = ((*tuple).t_self, u64::from((*tuple).t_len));
        pg_sys::heap_freetuple(tuple);
        written
    }
}

fn split(columns: &[Option<pg_sys::Datum>]) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    columns.iter().map(|c| (c.unwrap_or(pg_sys::Datum::null()), c.is_none())).unzip()
}
