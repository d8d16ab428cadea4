//! Every row of a table as changes: what TRUNCATE, ATTACH and DETACH do to rows that no row trigger
//! sees.
//!
//! Runs in the writer's backend, which holds a lock on the table that keeps all other writers out.
//! Memory is bounded by one row, whatever the table's size.

use event_source_model::image::Image;
use event_source_model::payload;
use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;

use super::table::Table;
use super::version::version;
use crate::error::Result;
use crate::log::buffer::{self, Captured};
use crate::pg::snapshot::ActiveSnapshot;

/// What happens to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They become rows of the collection.
    Come,
    /// They stop being rows of the collection.
    Go,
}

/// Hands a change for each row of the relation to the log.
///
/// The snapshot is of this moment: a statement's own is older than the lock that the statement
/// waited for, and would miss what was committed meanwhile.
///
/// # Errors
/// Those of the log.
pub(super) fn push_all(
    relation: &pg_sys::RelationData,
    table: &Table,
    collection: u64,
    fate: Fate,
) -> Result<()> {
    // SAFETY: in a transaction that writes; marks the command id as used.
    let command = unsafe { pg_sys::GetCurrentCommandId(true) };
    let kind = match fate {
        Fate::Come => payload::Kind::Insert,
        Fate::Go => payload::Kind::Delete,
    };
    let shape = table.shape()?;
    let mut images = Vec::new();
    let mut scrap = PgMemoryContexts::new("event_source rows");
    let snapshot = ActiveSnapshot::latest();
    let mut rows = Rows::of(relation);
    while let Some(tuple) = rows.next() {
        pgrx::check_for_interrupts!();
        images.clear();
        // SAFETY: the tuple is in its pinned buffer until the next one is asked for; what its
        // values take from PostgreSQL's memory is scrap, of which nothing is used any more.
        unsafe {
            payload::put_image(&mut images, shape, &version(relation.rd_id, tuple));
            scrap.switch_to(|_| {
                let _settings = table.settings();
                table.put_values(tuple, relation.rd_att, &mut images);
            });
            scrap.reset();
        }
        let (rewrite, values) = (false, table.width());
        buffer::push_captured(&Captured {
            kind,
            collection,
            command,
            rewrite,
            images: &images,
            values,
        })?;
    }
    drop(rows);
    drop(snapshot);
    Ok(())
}

/// What a row is now, `None` when its version is not there any more.
pub(super) fn image_at(
    relation: &pg_sys::RelationData,
    table: &Table,
    mut tid: pg_sys::ItemPointerData,
) -> Option<Image> {
    let _snapshot = ActiveSnapshot::latest();
    let raw = std::ptr::from_ref(relation).cast_mut();
    // SAFETY: the relation is open and locked, a snapshot is active; the tuple is the slot's, which
    // lives until the image is made.
    unsafe {
        let slot = pg_sys::table_slot_create(raw, std::ptr::null_mut());
        let snapshot = pg_sys::GetActiveSnapshot();
        let found = pg_sys::table_tuple_fetch_row_version(raw, &mut tid, snapshot, slot);
        let image = found.then(|| {
            let mut is_copy = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, false, &mut is_copy);
            let _settings = table.settings();
            table.image(tuple, relation.rd_att)
        });
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        image
    }
}

/// A scan under the active snapshot.
struct Rows {
    scan: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Rows {
    fn of(relation: &pg_sys::RelationData) -> Self {
        let relation = std::ptr::from_ref(relation).cast_mut();
        // SAFETY: the relation is open and locked, a snapshot is active.
        unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            let none = std::ptr::null_mut();
            let scan = pg_sys::table_beginscan(relation, snapshot, 0, std::ptr::null_mut());
            Self { scan, slot: pg_sys::table_slot_create(relation, none) }
        }
    }

    /// The next row, valid until the one after it is asked for.
    fn next(&mut self) -> Option<pg_sys::HeapTuple> {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        // SAFETY: scan and slot are of the same heap table; the slot keeps the row's buffer pinned,
        // and the tuple is the slot's own.
        unsafe {
            if !pg_sys::table_scan_getnextslot(self.scan, forward, self.slot) {
                return None;
            }
            let mut is_copy = false;
            Some(pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut is_copy))
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // While an ERROR unwinds, the abort of the transaction ends the scan.
        if !std::thread::panicking() {
            // SAFETY: begun by this handle and ended only here.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::table_endscan(self.scan);
            }
        }
    }
}
