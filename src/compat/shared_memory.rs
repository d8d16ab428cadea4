//! The hooks by which a library gets shared memory: one up to version 14, two from 15 on.
//!
//! Runs in the postmaster.

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

static mut STARTUP: Option<fn()> = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;
#[cfg(not(any(feature = "pg13", feature = "pg14")))]
static mut REQUEST: Option<fn()> = None;
#[cfg(not(any(feature = "pg13", feature = "pg14")))]
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;

pub(super) fn chain(request: Option<fn()>, startup: fn()) {
    // SAFETY: the postmaster loads libraries on its only thread.
    unsafe {
        STARTUP = Some(startup);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
        #[cfg(not(any(feature = "pg13", feature = "pg14")))]
        {
            REQUEST = request;
            PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
            pg_sys::shmem_request_hook = Some(on_request);
        }
        #[cfg(any(feature = "pg13", feature = "pg14"))]
        let _ = request;
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_startup() {
    // SAFETY: set by `chain`, in this process, before the hook could be called.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            pg_guard_ffi_boundary(|| previous());
        }
        if let Some(startup) = STARTUP {
            startup();
        }
    }
}

#[cfg(not(any(feature = "pg13", feature = "pg14")))]
#[pg_guard]
unsafe extern "C-unwind" fn on_request() {
    // SAFETY: as above.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            pg_guard_ffi_boundary(|| previous());
        }
        if let Some(request) = REQUEST {
            request();
        }
    }
}
