//! The next rows of a scan: named by the index, seen on their page.
//!
//! What `index_getnext_slot` does, for several rows at once: the page is locked, interrupts are looked at and
//! ERROR is guarded against once for all of them, where each row would take as many instructions as it does
//! itself. A scan begins with one row and takes more each time, since most want only the first.
//!
//! It rests on what the log is: its tables are heaps, and every column behind the first, which has eight bytes,
//! is a `bytea`. We never update a row, so nearly each is where the index says; one that somebody updated by
//! hand is looked for in PostgreSQL's own way, and so is each in a SERIALIZABLE transaction, which must note
//! what it read.

use pgrx::pg_sys;
use pgrx::pg_sys::ScanDirection;

use super::row::Row;
use crate::pg::page::Page;
use crate::pg::relation::Relation;

/// The most that are fetched at once.
const MOST: usize = 64;

/// Rows that were found and not given out.
#[derive(Debug)]
pub(super) struct Ahead {
    rows: Vec<Row>,
    /// How many of them were given out; the last of these is the one that the scan stands on.
    given: usize,
    /// The index has named it, and it is on another page than those.
    next: Option<pg_sys::ItemPointerData>,
    /// The index has named all. Asked once more it would begin anew.
    ended: bool,
    /// How many the next batch may have.
    batch: usize,
    /// That the rows are on.
    page: Option<Page>,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), given: 0, next: None, ended: false, batch: 1, page: None }
    }

    /// The row that the scan stands on.
    pub(super) fn row(&self) -> Option<&Row> {
        self.rows.get(self.given.checked_sub(1)?)
    }

    /// Moves to the next row, false at the end.
    ///
    /// # Safety
    /// The scan is open, with the snapshot that it began with, and always the same; `heap` is its table, and
    /// has the columns of a table of the log. The direction never changes.
    pub(super) unsafe fn next(
        &mut self,
        scan: pg_sys::IndexScanDesc,
        heap: &Relation,
        direction: ScanDirection::Type,
    ) -> bool {
        while self.given == self.rows.len() {
            pgrx::check_for_interrupts!();
            // SAFETY: the caller's.
            let found = unsafe { self.find(scan, direction) };
            let Some(first) = found.first() else { return false };
            let block = pgrx::itemptr::item_pointer_get_both(*first).0;
            if self.page.as_ref().is_none_or(|page| page.block() != block) {
                // The old one first: nobody needs two.
                self.page = None;
                self.page = Some(Page::read(heap, block));
            }
            // SAFETY: the caller's; the page is that of the rows.
            unsafe { self.see(scan, heap, &found) };
            self.batch = (self.batch * 2).min(MOST);
        }
        self.given += 1;
        true
    }

    /// What the index names next on one page; nothing at its end.
    ///
    /// # Safety
    /// As [`Ahead::next`].
    unsafe fn find(
        &mut self,
        scan: pg_sys::IndexScanDesc,
        direction: ScanDirection::Type,
    ) -> Vec<pg_sys::ItemPointerData> {
        let mut found = Vec::with_capacity(self.batch);
        found.extend(self.next.take());
        let Self { next, ended, batch, .. } = self;
        let all = &mut found;
        // SAFETY: the caller's. Nothing in the closure has to be dropped: the list is not its own, and has room.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                while !*ended && next.is_none() && all.len() < *batch {
                    match index_getnext_tid(scan, direction).as_ref() {
                        None => *ended = true,
                        Some(named) if all.first().is_some_and(|at| !is_same_page(at, named)) => {
                            *next = Some(*named);
                        }
                        Some(named) => all.push(*named),
                    }
                }
            });
        }
        found
    }

    /// Keeps those of the rows that the snapshot sees.
    ///
    /// # Safety
    /// As [`Ahead::next`]; the rows are on the page.
    unsafe fn see(
        &mut self,
        scan: pg_sys::IndexScanDesc,
        heap: &Relation,
        found: &[pg_sys::ItemPointerData],
    ) {
        let Some(page) = &self.page else { return };
        self.given = 0;
        self.rows.clear();
        self.rows.reserve(found.len());
        let (rows, buffer, relation) = (&mut self.rows, page.buffer(), heap.as_ptr());
        // SAFETY: the caller's. The page is pinned, and locked while it is looked at. Nothing in the closure has
        // to be dropped, as above; an ERROR has the lock let go with the transaction.
        unsafe {
            let is_serializable = pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let snapshot = (*scan).xs_snapshot;
                LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                let content = pg_sys::BufferGetPage(buffer);
                for tid in found {
                    let plain = tuple_at(content, *tid, (*relation).rd_id)
                        .filter(|tuple| !is_serializable && was_never_updated(tuple));
                    let seen = match plain {
                        Some(mut tuple) => {
                            let seen = HeapTupleSatisfiesVisibility(&mut tuple, snapshot, buffer);
                            seen.then_some(tuple)
                        }
                        None => {
                            let (mut tid, mut tuple) = (*tid, pg_sys::HeapTupleData::default());
                            let (all_dead, first) = (std::ptr::null_mut(), true);
                            let seen = heap_hot_search_buffer(
                                &mut tid, relation, buffer, snapshot, &mut tuple, all_dead, first,
                            );
                            seen.then_some(tuple)
                        }
                    };
                    rows.extend(seen.map(|tuple| Row::new(tuple.t_self, tuple.t_data)));
                }
                LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            });
        }
    }
}

// Called for each row, inside one guard for all of them: the bindings' own guard would be most of what a row
// takes.
unsafe extern "C-unwind" {
    fn index_getnext_tid(
        scan: pg_sys::IndexScanDesc,
        direction: ScanDirection::Type,
    ) -> pg_sys::ItemPointer;
    fn LockBuffer(buffer: pg_sys::Buffer, mode: std::ffi::c_int);
    fn HeapTupleSatisfiesVisibility(
        tuple: pg_sys::HeapTuple,
        snapshot: pg_sys::Snapshot,
        buffer: pg_sys::Buffer,
    ) -> bool;
    fn heap_hot_search_buffer(
        tid: pg_sys::ItemPointer,
        relation: pg_sys::Relation,
        buffer: pg_sys::Buffer,
        snapshot: pg_sys::Snapshot,
        tuple: pg_sys::HeapTuple,
        all_dead: *mut bool,
        first_call: bool,
    ) -> bool;
}

fn is_same_page(a: &pg_sys::ItemPointerData, b: &pg_sys::ItemPointerData) -> bool {
    (a.ip_blkid.bi_hi, a.ip_blkid.bi_lo) == (b.ip_blkid.bi_hi, b.ip_blkid.bi_lo)
}

/// Whether a row has no newer version on its page.
fn was_never_updated(tuple: &pg_sys::HeapTupleData) -> bool {
    // SAFETY: the tuple is on a page that is pinned and locked.
    unsafe { (*tuple.t_data).t_infomask2 & pg_sys::HEAP_HOT_UPDATED as u16 == 0 }
}

/// The row at a place; `None` where there is none any more, or only a hint at another place.
///
/// # Safety
/// The page is pinned and locked, and the place is on it.
unsafe fn tuple_at(
    page: pg_sys::Page,
    tid: pg_sys::ItemPointerData,
    table: pg_sys::Oid,
) -> Option<pg_sys::HeapTupleData> {
    const LP_NORMAL: u32 = 1;
    // SAFETY: the caller's.
    unsafe {
        if tid.ip_posid > pg_sys::PageGetMaxOffsetNumber(page) {
            return None;
        }
        let item = &*pg_sys::PageGetItemId(page, tid.ip_posid);
        (item.lp_flags() == LP_NORMAL).then(|| pg_sys::HeapTupleData {
            t_len: item.lp_len(),
            t_self: tid,
            t_tableOid: table,
            t_data: page.add(item.lp_off() as usize).cast(),
        })
    }
}
