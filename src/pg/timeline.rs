//! The timelines that this server's WAL went through, as PostgreSQL's own history file lists them.

use pgrx::pg_sys;

use crate::compat;

/// As `access/timeline.h` lays it out, in every version since 9.3.
#[repr(C)]
struct Entry {
    id: u32,
    _begin: u64,
    _end: u64,
}

unsafe extern "C-unwind" {
    // Not among pgrx's bindings.
    fn readTimeLineHistory(timeline: pg_sys::TimeLineID) -> *mut pg_sys::List;
}

/// From the one that this server is on to the first. Reads a file; raises PostgreSQL's own error for
/// one that is damaged. Only the present one where the file is missing, as after `pg_resetwal`.
pub fn timelines() -> Vec<u32> {
    let current = compat::timeline();
    // SAFETY: any timeline may be asked for; the guard turns an ERROR into a panic; each element of
    // the list is an entry, and the list is ours to free.
    unsafe {
        let list = pg_sys::ffi::pg_guard_ffi_boundary(|| readTimeLineHistory(current));
        let entries = (0..pg_sys::list_length(list))
            .map(|i| (*pg_sys::list_nth(list, i).cast::<Entry>()).id)
            .collect();
        pg_sys::list_free_deep(list);
        entries
    }
}
