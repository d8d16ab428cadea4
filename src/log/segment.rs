//! The tables of the ring, and which of them is written now.
//!
//! Found by name once, and kept until the relation cache says that one of them changed: a log that
//! was dropped and made anew is found. Runs in every process that reads or writes the log.

use std::cell::RefCell;
use std::ffi::CString;
use std::fmt::Display;
use std::sync::atomic::Ordering::SeqCst;

use pgrx::prelude::*;
use rustc_hash::FxHashMap;

use super::{SEGMENTS, row, scan, shapes};
use crate::error::{Error, Kind, Result};
use crate::order::shared;
use crate::pg::relation::Relation;

#[derive(Default)]
struct Known {
    stamps: [Option<pg_sys::Oid>; SEGMENTS],
    changes: [Option<pg_sys::Oid>; SEGMENTS],
    shapes: Option<pg_sys::Oid>,
    indexes: FxHashMap<pg_sys::Oid, Index>,
    /// Counts invalidations, so that what was found before one is not kept behind it.
    invalidations: u64,
}

impl Known {
    fn holds(&self, relation: pg_sys::Oid) -> bool {
        let tables = self.stamps.iter().chain(&self.changes).chain([&self.shapes]).flatten();
        let indexes = self.indexes.values().map(|(index, _)| index);
        tables.chain(indexes).any(|&oid| oid == relation)
    }
}

/// The only index of a table, and what PostgreSQL wants to know of it for an insert.
type Index = (pg_sys::Oid, pg_sys::IndexInfo);

/// An index of the log is on so many leading columns at most.
pub(super) const MOST_INDEXED: usize = 2;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// The table of a segment's stamps.
pub fn stamp_table(segment: usize) -> Result<pg_sys::Oid> {
    find(format_args!("stamp_{segment}"), |known| &mut known.stamps[segment])
}

/// The table of a segment's change rows.
pub fn change_table(segment: usize) -> Result<pg_sys::Oid> {
    find(format_args!("change_{segment}"), |known| &mut known.changes[segment])
}

/// The table of the shapes of rows, in no segment.
pub(super) fn shape_table() -> Result<pg_sys::Oid> {
    find("shape", |known| &mut known.shapes)
}

/// The only index of an open table of the log.
pub(super) fn index_of(heap: &Relation) -> Result<Index> {
    if let Some(index) = KNOWN.with_borrow(|known| known.indexes.get(&heap.oid()).copied()) {
        return Ok(index);
    }
    let before = KNOWN.with_borrow(|known| known.invalidations);
    row::check(heap)?;
    let index = Relation::open(scan::only_index(heap)?, pg_sys::RowExclusiveLock as _);
    // SAFETY: the index is open. Without expressions and predicate the result holds no pointers into
    // the memory context that it was made in.
    let info = unsafe { *pg_sys::BuildIndexInfo(index.as_ptr()) };
    let columns = &info.ii_IndexAttrNumbers[..info.ii_NumIndexAttrs as usize];
    let leading = columns.iter().zip(1..).all(|(&column, at)| column == at);
    if columns.len() > MOST_INDEXED || !leading || !info.ii_Predicate.is_null() {
        return Err(scan::index_changed());
    }
    keep(before, |known| {
        known.indexes.insert(heap.oid(), (index.oid(), info));
    });
    Ok((index.oid(), info))
}

/// Whether the extension and its log are there.
pub fn exist() -> bool {
    stamp_table(0).is_ok()
}

/// The segment into which a transaction writes that captures its first change now.
pub fn current() -> Result<usize> {
    // SAFETY: set when the backend connected.
    let entry = shared::get()?.database(unsafe { pg_sys::MyDatabaseId });
    Ok(entry.map_or(0, |e| e.segment.load(SeqCst) as usize))
}

fn find(
    name: impl Display,
    of: impl Fn(&mut Known) -> &mut Option<pg_sys::Oid>,
) -> Result<pg_sys::Oid> {
    if let Some(oid) = KNOWN.with_borrow_mut(|known| *of(known)) {
        return Ok(oid);
    }
    let before = KNOWN.with_borrow(|known| known.invalidations);
    let oid = table(&name.to_string())?;
    keep(before, |known| *of(known) = Some(oid));
    Ok(oid)
}

fn keep(before: u64, keep: impl FnOnce(&mut Known)) {
    KNOWN.with_borrow_mut(|known| {
        if known.invalidations == before {
            keep(known);
        }
    });
}

/// A table of ours, by its name.
pub(super) fn table(name: &str) -> Result<pg_sys::Oid> {
    let name = CString::new(name).expect("no NUL in it");
    // SAFETY: both are catalog lookups by a C string.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(c"event_source".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    if oid == pg_sys::InvalidOid {
        return Err(Error::new(Kind::NotCaptured, "this database has no change log")
            .hint("CREATE EXTENSION event_source"));
    }
    Ok(oid)
}

/// Registers for invalidations; called once per process, when the library is loaded.
pub fn init() {
    // SAFETY: a callback that only touches this module's thread-local.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(invalidate), pg_sys::Datum::null()) }
}

/// Called in the middle of catalog look-ups and of transaction ends: it must not raise an ERROR,
/// call PostgreSQL or find the cache borrowed.
#[pg_guard]
unsafe extern "C-unwind" fn invalidate(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    KNOWN.with_borrow_mut(|known| {
        known.invalidations = known.invalidations.wrapping_add(1);
        if relation == pg_sys::InvalidOid || known.holds(relation) {
            *known = Known { invalidations: known.invalidations, ..Known::default() };
            shapes::forget();
        }
    });
}
