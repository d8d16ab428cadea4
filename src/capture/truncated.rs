//! Rows that come into a table after its TRUNCATE was captured and before the table is emptied.
//!
//! The BEFORE TRUNCATE triggers of all tables of a statement fire one after the other, and only
//! then are the tables emptied. One that fires after ours (of another table, or of ours with a name
//! that sorts later) may still write rows, which then go without a trigger. So between our BEFORE
//! and our AFTER trigger of a table the versions that are made in it are noted, and the AFTER
//! trigger removes those that are gone.
//!
//! It lives in the writer's backend. [`forget_since`] is called where nothing may fail; it only
//! touches this module's cells.

use std::cell::{Cell, RefCell};

use event_source_model::change::{Change, Side};
use event_source_model::image::Image;
use event_source_model::value::Value;
use pgrx::prelude::*;

use crate::error::Result;
use crate::log::buffer::Captured;
use crate::order::ending;
use crate::pg::unguarded;

/// A table that is about to be emptied.
struct Doomed {
    table: u32,
    since: pg_sys::SubTransactionId,
    /// Versions that were made in it since, and by which subtransaction.
    born: Vec<(pg_sys::SubTransactionId, Side)>,
}

thread_local! {
    static DOOMED: RefCell<Vec<Doomed>> = RefCell::default();
    /// Whether there is any: what each row's trigger asks.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

/// All rows of the table were captured as removed; it will be emptied.
pub(super) fn begin(table: pg_sys::Oid) {
    let since = unguarded::current_subtransaction();
    let table = table.to_u32();
    ending::await_it();
    DOOMED.with_borrow_mut(|doomed| {
        doomed.retain(|d| d.table != table);
        doomed.push(Doomed { table, since, born: Vec::new() });
    });
    ANY.set(true);
}

/// A change was captured.
///
/// # Errors
/// Those of reading it.
pub(super) fn note(captured: &Captured<'_>) -> Result<()> {
    if ANY.get() { note_change(&captured.change()?) } else { Ok(()) }
}

fn note_change(change: &Change) -> Result<()> {
    let side = change.after.as_ref().or(change.before.as_ref());
    let Some(table) = side.map(|side| side.version.table) else { return Ok(()) };
    let current = unguarded::current_subtransaction();
    DOOMED.with_borrow_mut(|doomed| {
        let Some(doomed) = doomed.iter_mut().find(|d| d.table == table) else { return };
        if let Some(ended) = &change.before {
            doomed.born.retain(|(_, side)| side.version != ended.version);
        }
        doomed.born.extend(change.after.as_ref().map(|side| (current, outline(side))));
    });
    Ok(())
}

/// The table was emptied: what was written to it meanwhile is gone as well.
///
/// # Errors
/// Those of the log.
pub(super) fn end(relation: &pg_sys::RelationData, collection: u64) -> Result<()> {
    let table = relation.rd_id.to_u32();
    let (found, left) = DOOMED.with_borrow_mut(|doomed| {
        let found = doomed.iter().position(|d| d.table == table).map(|at| doomed.remove(at));
        (found, !doomed.is_empty())
    });
    ANY.set(left);
    let born = found.map(|doomed| doomed.born).unwrap_or_default();
    // SAFETY: in a transaction that writes; marks the command id as used.
    let command = unsafe { pg_sys::GetCurrentCommandId(true) };
    for (_, side) in born {
        if !is_there(relation, &side) {
            let before = Some(side);
            let change =
                Change { collection, command, fired: 0, before, after: None, rewrite: false };
            crate::log::buffer::push(&change)?;
        }
    }
    Ok(())
}

/// As much of a side as it takes to pair a version with its end: the key.
fn outline(side: &Side) -> Side {
    let shape = &side.image.shape;
    let mut values = vec![Value::Null; side.image.values.len()];
    for &at in &shape.key {
        values[usize::from(at)] = side.image.values[usize::from(at)].clone();
    }
    Side { image: Image { shape: std::sync::Arc::clone(shape), values }, version: side.version }
}

/// Whether a version is still in the table: an AFTER TRUNCATE trigger of somebody else's may have
/// run before ours and written to the table that was just emptied.
fn is_there(relation: &pg_sys::RelationData, side: &Side) -> bool {
    let relation = std::ptr::from_ref(relation).cast_mut();
    // SAFETY: the relation is open and locked exclusively; a place within the table's length may be
    // asked for, and the slot is of the table's kind.
    unsafe {
        let blocks =
            pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
        if side.version.block >= blocks {
            return false;
        }
        let mut place = pg_sys::ItemPointerData::default();
        pgrx::itemptr::item_pointer_set_all(&mut place, side.version.block, side.version.offset);
        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let any = &raw mut pg_sys::SnapshotAnyData;
        let found = pg_sys::table_tuple_fetch_row_version(relation, &mut place, any, slot) && {
            let mut is_copy = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, false, &mut is_copy);
            super::version::version((*relation).rd_id, tuple) == side.version
        };
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        found
    }
}

/// A savepoint was rolled back, and with it what was noted under it; with 0 the transaction ended.
pub fn forget_since(subtransaction: pg_sys::SubTransactionId) {
    DOOMED.with(|doomed| {
        // A process that ends in the middle of a look needs it no more.
        if let Ok(mut doomed) = doomed.try_borrow_mut() {
            doomed.retain(|d| d.since < subtransaction);
            for table in doomed.iter_mut() {
                table.born.retain(|(by, _)| *by < subtransaction);
            }
            ANY.set(!doomed.is_empty());
        }
    });
}
