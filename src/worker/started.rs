//! A background worker that the launcher started.
//!
//! It guarantees that the launcher hears when the worker ends, and that what PostgreSQL hands out for
//! it is given back. Runs in the launcher, which is its only caller; [`description`] also in the
//! postmaster.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

/// A background worker of this library.
pub(super) fn description(
    kind: &CStr,
    function: &CStr,
    restart_seconds: i32,
) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION)
            as i32,
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_ConsistentState,
        bgw_restart_time: restart_seconds,
        ..Default::default()
    };
    copy(&mut worker.bgw_name, kind);
    copy(&mut worker.bgw_type, kind);
    copy(&mut worker.bgw_function_name, function);
    copy(&mut worker.bgw_library_name, c"event_source");
    worker
}

/// Copies a name or an argument, cut where there is no more room.
pub(super) fn copy(to: &mut [c_char], from: &CStr) {
    for (to, from) in to.iter_mut().zip(from.to_bytes_with_nul()) {
        *to = *from as c_char;
    }
}

/// PostgreSQL's handle of a worker.
#[derive(Debug)]
pub(super) struct Started(*mut pg_sys::BackgroundWorkerHandle);

impl Started {
    /// Asks the postmaster for it; `None` when no background worker is free.
    pub(super) fn of(mut worker: pg_sys::BackgroundWorker) -> Option<Self> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: this process hears of its end; outside a transaction the handle lives in
        // TopMemoryContext.
        let registered = unsafe {
            worker.bgw_notify_pid = pg_sys::MyProcPid;
            pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle)
        };
        registered.then(|| Self(handle))
    }

    pub(super) fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle came from RegisterDynamicBackgroundWorker.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }

    pub(super) fn terminate(&self) {
        // SAFETY: as above.
        unsafe { pg_sys::TerminateBackgroundWorker(self.0) }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: palloc'ed by RegisterDynamicBackgroundWorker, used no more.
        unsafe { pg_sys::pfree(self.0.cast()) }
    }
}
