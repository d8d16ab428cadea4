//! What kind of process this is.

use pgrx::pg_sys;

/// Whether this is one of our background workers rather than somebody's session.
pub fn is_worker() -> bool {
    // SAFETY: set once, before anything of ours runs.
    unsafe { !pg_sys::MyBgworkerEntry.is_null() }
}
