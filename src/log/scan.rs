//! One index scan over one table of the log, through its only index.

use std::borrow::Cow;

use pgrx::pg_sys;
use pgrx::pg_sys::ScanDirection;

use super::ahead::Ahead;
use super::row;
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;
use crate::pg::varlena::Varlena;

/// An open scan; the row it stands on can be read until the next [`Scan::next`].
#[derive(Debug)]
pub struct Scan {
    heap: Relation,
    // Held open for the scan.
    _index: Relation,
    scan: pg_sys::IndexScanDesc,
    direction: ScanDirection::Type,
    ahead: Ahead,
    /// What a condition points to; only held.
    compared: Option<Varlena>,
}

/// A row of a table of the log: where it is, its number, and its other columns.
#[derive(Debug)]
pub struct Stored<'a> {
    pub tid: pg_sys::ItemPointerData,
    pub number: u64,
    pub columns: Vec<Option<Cow<'a, [u8]>>>,
}

impl<'a> Stored<'a> {
    /// The same with another column, numbered from 0 with the number.
    #[must_use]
    pub fn with(mut self, at: usize, value: Vec<u8>) -> Self {
        self.columns[at - 1] = Some(Cow::Owned(value));
        self
    }
}

/// A condition on a column of the index: its number from 1, a btree strategy, the comparison
/// function and what to compare with.
pub type Condition = (i16, u32, u32, pg_sys::Datum);

impl Scan {
    /// Scans under `snapshot`, which must stay registered or active while this lives.
    pub fn open(
        table: pg_sys::Oid,
        conditions: &[Condition],
        snapshot: pg_sys::Snapshot,
        direction: ScanDirection::Type,
    ) -> Result<Self> {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let heap = Relation::open(table, lock);
        row::check(&heap)?;
        let index = Relation::open(only_index(&heap)?, lock);
        // SAFETY: both relations are open; index_rescan copies the keys.
        let scan = unsafe {
            let mut keys: Vec<pg_sys::ScanKeyData> = vec![std::mem::zeroed(); conditions.len()];
            for (key, &(column, strategy, function, value)) in keys.iter_mut().zip(conditions) {
                let strategy = strategy as pg_sys::StrategyNumber;
                pg_sys::ScanKeyInit(key, column, strategy, function.into(), value);
            }
            let count = conditions.len() as i32;
            let scan = compat::index_beginscan(heap.as_ptr(), index.as_ptr(), snapshot, count);
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), count, std::ptr::null_mut(), 0);
            scan
        };
        Ok(Self { heap, _index: index, scan, direction, ahead: Ahead::new(), compared: None })
    }

    /// Keeps what a condition points to for as long as this lives: the index reads it at each step.
    pub fn keep(&mut self, compared: Varlena) {
        self.compared = Some(compared);
    }

    /// Moves to the next row, false at the end.
    pub fn next(&mut self) -> bool {
        // SAFETY: the scan is open, its table was checked, and the direction is always the same.
        unsafe { self.ahead.next(self.scan, &self.heap, self.direction) }
    }

    /// A column, from 0, of the row that the scan stands on.
    pub fn column(&self, at: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the page of the row is pinned until the scan moves on, and its table was checked.
        unsafe { self.ahead.row()?.column(at) }
    }

    /// The row that the scan stands on.
    ///
    /// # Panics
    /// When it stands on none.
    pub fn row(&self) -> Stored<'_> {
        let tid = self.ahead.row().expect("asked for behind a row that was given out").tid;
        // SAFETY: the row type of an open relation.
        let count = unsafe { (*self.heap.tuple_desc()).natts } as usize;
        let number = self.column(0).expect("no number of the log is null").value() as u64;
        Stored { tid, number, columns: (1..count).map(|at| self.bytes(at)).collect() }
    }

    /// A `bytea` column, fetched from wherever it is stored: where it stands in the row, it is not copied.
    pub fn bytes(&self, at: usize) -> Option<Cow<'_, [u8]>> {
        let datum = self.column(at)?;
        // SAFETY: the column is a bytea. The row stays where it is until the scan moves on, for which it is
        // borrowed mutably; what is compressed or stored elsewhere is made plain, copied and freed.
        unsafe {
            let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
            if !row::is_packed(stored) {
                return Some(Cow::Borrowed(pgrx::varlena_to_byte_slice(stored)));
            }
            let plain = pg_sys::pg_detoast_datum_packed(stored);
            let bytes = pgrx::varlena_to_byte_slice(plain).to_vec();
            pg_sys::pfree(plain.cast());
            Some(Cow::Owned(bytes))
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner lets go of everything.
        if !std::thread::panicking() {
            // SAFETY: opened by this handle and ended only here, before the relations close.
            unsafe { pg_sys::index_endscan(self.scan) }
        }
    }
}

/// The only index of a table of the log.
pub fn only_index(heap: &Relation) -> Result<pg_sys::Oid> {
    // SAFETY: the relation is open; the list is ours to free.
    unsafe {
        let list = pg_sys::RelationGetIndexList(heap.as_ptr());
        let found = (!list.is_null() && (*list).length == 1).then(|| (*(*list).elements).oid_value);
        pg_sys::list_free(list);
        found.ok_or_else(index_changed)
    }
}

/// What is said when somebody has made, dropped or changed an index of the log.
pub(super) fn index_changed() -> Error {
    Error::new(Kind::Corrupted, "a table of the change log does not have its one index")
        .hint("undo whatever was changed in schema event_source by hand")
}
