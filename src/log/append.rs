//! Stamps and changes into a segment, by the writer's transaction or the one that stamps for it.

use event_source_model::place::Run;
use event_source_model::stamp::Stamp;
use pgrx::pg_sys;

use super::scan::Stored;
use super::table::Table;
use super::{runs, segment, shapes};
use crate::error::Result;
use crate::pg::relation::Relation;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::unguarded;

/// Where a stamp row was written, so that it can be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    table: pg_sys::Oid,
    tid: pg_sys::ItemPointerData,
}

/// Writes a stamp row.
pub fn stamp(stamp: &Stamp, payload: Option<&[u8]>) -> Result<Written> {
    let mut table = Table::open(segment::stamp_table(stamp.segment)?)?;
    let tid = table.insert(stamp.txn_ts as u64, &[Some(&stamp.encode()), payload]);
    table.close()?;
    Ok(Written { table: segment::stamp_table(stamp.segment)?, tid })
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
pub fn replace(table: pg_sys::Oid, row: &Stored<'_>) -> Result<()> {
    let mut table = Table::open(table)?;
    let columns: Vec<Option<&[u8]>> = row.columns.iter().map(Option::as_deref).collect();
    table.insert(row.number, &columns);
    let mut tid = row.tid;
    // SAFETY: the row is one that the caller's snapshot sees, and redactions take turns.
    unsafe { pg_sys::simple_heap_delete(table.heap(), &mut tid) };
    table.close()
}

/// What a change row holds: PostgreSQL stores larger ones out of line.
const ROW: usize = 1900;

/// Writes the changes of a payload as a run of that number, see [`super::runs`].
pub fn run(segment: usize, number: u32, payload: &[u8]) -> Result<()> {
    let mut table = Table::open(segment::change_table(segment)?)?;
    let xid = top_xid();
    let run = Run::of(payload, &mut shapes::find)?;
    run.parts(ROW, |place, changes| {
        table.insert(xid, &[Some(&runs::place(number, place)), Some(changes)]);
        Result::Ok(())
    })?;
    table.close()
}

/// The 64-bit number of the top-level transaction, which all its rows carry.
pub fn top_xid() -> u64 {
    unguarded::top_xid_if_any().unwrap_or_else(|| {
        // SAFETY: in a transaction that writes.
        unsafe { pg_sys::GetTopFullTransactionId() }.value
    })
}
