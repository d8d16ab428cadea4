//! The tables of the ring, and which of them is written now.

use std::ffi::CString;
use std::sync::atomic::Ordering::SeqCst;

use pgrx::pg_sys;

use crate::error::{Error, Kind, Result};
use crate::order::shared;

/// The table of a segment's stamps.
pub fn stamp_table(segment: usize) -> Result<pg_sys::Oid> {
    table(&format!("stamp_{segment}"))
}

/// The table of a segment's change rows.
pub fn change_table(segment: usize) -> Result<pg_sys::Oid> {
    table(&format!("change_{segment}"))
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

/// A table of ours. Looked up by name each time (two hits in the system caches), so that a log that was dropped and
/// made anew is found.
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
