//! How long the worker waits for a lock on somebody's table.
//!
//! It is one thread: while it waits for a table that a session has locked, no stream gets an event. In a
//! session it is the session's own `lock_timeout` that counts.

use std::ffi::c_int;
use std::time::Duration;

use pgrx::pg_sys;

use super::process::is_worker;

/// PostgreSQL's number of the timeout, the same in every version.
const LOCK_TIMEOUT: c_int = 2;

// utils/timeout.h is not among the bindings.
unsafe extern "C-unwind" {
    fn get_timeout_indicator(id: c_int, reset_indicator: bool) -> bool;
    fn SetLatch(latch: *mut pg_sys::Latch);
}

/// In the worker, waiting longer raises an ERROR until this is dropped.
#[derive(Debug)]
pub struct ShortLockWait {
    before: c_int,
}

impl ShortLockWait {
    pub fn at_most(longest: Duration) -> Self {
        // SAFETY: a setting of the server's, on its only thread.
        unsafe {
            let before = pg_sys::LockTimeout;
            if is_worker() {
                pg_sys::LockTimeout = longest.as_millis() as c_int;
            }
            Self { before }
        }
    }
}

impl Drop for ShortLockWait {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { pg_sys::LockTimeout = self.before }
    }
}

/// The handler of SIGINT in the worker: PostgreSQL sends it to itself when a lock was waited for too long.
/// pg_cancel_backend does nothing, since there is no query of anybody's to cancel here.
pub unsafe extern "C-unwind" fn cancel_lock_wait(_signal: c_int) {
    // SAFETY: flags that signal handlers may set, and calls that they may make; neither raises.
    unsafe {
        if get_timeout_indicator(LOCK_TIMEOUT, false) {
            pg_sys::QueryCancelPending = 1;
            pg_sys::InterruptPending = 1;
            SetLatch(pg_sys::MyLatch);
        }
    }
}
