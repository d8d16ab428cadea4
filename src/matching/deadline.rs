//! A deadline for expressions of sources: one that does not end must not hold up all streams.
//!
//! The timer is PostgreSQL's. When it fires it asks for a cancel, which the next
//! CHECK_FOR_INTERRUPTS turns into an ERROR; whoever catches that asks [`Deadline::passed`]
//! whether it was the deadline or a user's own cancel.

use std::cell::Cell;
use std::ffi::c_int;
use std::time::Duration;

use pgrx::pg_sys;

/// What the expressions of all sources may take for one change, and each of them when they are
/// evaluated one by one.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// Any id from USER_TIMEOUT on asks for a free one; this is the last one of every version.
const ANY_USER_TIMEOUT: c_int = 15;

// utils/timeout.h is not among the bindings.
unsafe extern "C-unwind" {
    fn RegisterTimeout(id: c_int, handler: unsafe extern "C-unwind" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, delay_ms: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn get_timeout_indicator(id: c_int, reset_indicator: bool) -> bool;
    fn SetLatch(latch: *mut pg_sys::Latch);
}

thread_local! {
    /// The timeout's id in this process, once it is registered.
    static TIMEOUT: Cell<Option<c_int>> = const { Cell::new(None) };
}

/// A cancel is asked for when this lives longer than [`LIMIT`].
#[derive(Debug)]
pub(super) struct Deadline(c_int);

impl Deadline {
    pub(super) fn start() -> Self {
        let id = TIMEOUT.get().unwrap_or_else(|| {
            // SAFETY: no code of ours is unwound over: it raises only when all ids are taken,
            // through the guard.
            let id = unsafe {
                pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    RegisterTimeout(ANY_USER_TIMEOUT, ask_for_cancel)
                })
            };
            TIMEOUT.set(Some(id));
            id
        });
        // SAFETY: registered in this process; raises only for an id that is not.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                enable_timeout_after(id, LIMIT.as_millis() as c_int);
            });
        }
        Self(id)
    }

    /// Ends the deadline; whether it had passed.
    ///
    /// A cancel that it asked for and that nobody noticed in time is withdrawn.
    pub(super) fn passed(self) -> bool {
        // SAFETY: as in `start`; the flag is only read and written on this thread and in its
        // signal handlers.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| disable_timeout(self.0, true));
            let passed = pg_sys::ffi::pg_guard_ffi_boundary(|| get_timeout_indicator(self.0, true));
            if passed {
                pg_sys::QueryCancelPending = 0;
            }
            passed
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // SAFETY: registered in this process; does nothing when it is not running.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| disable_timeout(self.0, false)) }
    }
}

/// Runs in the handler of SIGALRM: what PostgreSQL's own handler of a cancel does, nothing else.
unsafe extern "C-unwind" fn ask_for_cancel() {
    // SAFETY: flags that signal handlers may set, and a call that they may make; it does not
    // raise, so it needs no guard (which may not run in a signal handler).
    unsafe {
        pg_sys::QueryCancelPending = 1;
        pg_sys::InterruptPending = 1;
        SetLatch(pg_sys::MyLatch);
    }
}
