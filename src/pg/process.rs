//! What kind of process this is.

use std::cell::Cell;

use pgrx::pg_sys;

/// Whether this is one of our background workers rather than somebody's session.
pub fn is_worker() -> bool {
    // SAFETY: set once, before anything of ours runs.
    unsafe { !pg_sys::MyBgworkerEntry.is_null() }
}

thread_local! {
    static FOR_LIFE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a worker, a keeper or the launcher: its session and its settings are nobody else's.
pub fn is_for_life() -> bool {
    FOR_LIFE.get()
}

/// Called once, by a process that is one of those.
pub fn be_for_life() {
    FOR_LIFE.set(true);
}
