//! The timelines that a server's WAL went through, as PostgreSQL's own history file lists them.

use pgrx::pg_sys;

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

/// From `last`, which this server is or was on, to the first. Reads a file; raises PostgreSQL's own error
/// for one that is damaged. Only `last` where the file is missing, as after `pg_resetwal`.
pub fn timelines(last: u32) -> Vec<u32> {
    // SAFETY: any timeline may be asked for; the guard turns an ERROR into a panic; each element of
    // the list is an entry, and the list is ours to free.
    unsafe {
        let list = pg_sys::ffi::pg_guard_ffi_boundary(|| readTimeLineHistory(last));
        let entries = (0..pg_sys::list_length(list))
            .map(|i| (*pg_sys::list_nth(list, i).cast::<Entry>()).id)
            .collect();
        pg_sys::list_free_deep(list);
        entries
    }
}
