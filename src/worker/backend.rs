//! The worker and the launcher as PostgreSQL processes: signals, settings, waiting, and what
//! `pg_stat_activity` shows of them.

use std::ffi::CStr;
use std::net::TcpListener;
use std::time::Duration;

use pgrx::pg_sys;

use crate::compat;
use crate::pg::lock_wait::cancel_lock_wait;
use crate::pg::pinned;

/// Reload on SIGHUP, end on SIGTERM; then lets signals in.
pub(super) fn install_signal_handlers() {
    unsafe extern "C-unwind" {
        // PostgreSQL's handlers; pgrx's wrappers of them are no C function pointers.
        fn die(signal: std::ffi::c_int);
        fn SignalHandlerForConfigReload(signal: std::ffi::c_int);
    }
    compat::on_signal(libc::SIGINT, cancel_lock_wait);
    compat::on_signal(libc::SIGHUP, SignalHandlerForConfigReload);
    compat::on_signal(libc::SIGTERM, die);
    // SAFETY: a background worker starts with all signals blocked.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() };
}

/// Reads the configuration again if SIGHUP came; says whether it did.
pub(super) fn reload_requested() -> bool {
    // SAFETY: flag and function of the server's, on its only thread.
    unsafe {
        if pg_sys::ConfigReloadPending == 0 {
            return false;
        }
        pg_sys::ConfigReloadPending = 0;
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
    }
    true
}

/// Waits for the latch or for the time to pass; ends with the postmaster.
pub(super) fn wait(timeout: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let timeout = timeout.as_millis().min(60_000) as std::ffi::c_long;
    // SAFETY: the process's own latch.
    unsafe {
        let latch = pg_sys::MyLatch;
        pg_sys::WaitLatch(latch, events as i32, timeout, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(latch);
    }
}

/// Nothing that a role's or a database's settings say may change what the worker does.
pub(super) fn pin_settings() {
    const PINNED: &[(&CStr, &CStr)] = &[
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_deferrable", c"off"),
        (c"synchronous_commit", c"off"),
        (c"statement_timeout", c"0"),
        (c"lock_timeout", c"0"),
        (c"idle_in_transaction_session_timeout", c"0"),
        (c"row_security", c"off"),
    ];
    pinned::pin_for_life(PINNED);
}

/// Where the server is to be found, for people and for tests: in `application_name`.
pub(super) fn report_addresses(sockets: &[TcpListener]) {
    let addresses: Vec<String> = sockets
        .iter()
        .filter_map(|s| s.local_addr().ok())
        .map(|address| address.to_string())
        .collect();
    let name = std::ffi::CString::new(format!("event_source {}", addresses.join(" ")))
        .expect("an address holds no NUL");
    // SAFETY: a C string, which is copied.
    unsafe {
        pg_sys::SetConfigOption(
            c"application_name".as_ptr(),
            name.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Shown as the worker's query in `pg_stat_activity`.
pub(super) fn report_activity(what: &CStr) {
    // SAFETY: a C string, which is copied.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, what.as_ptr()) };
}
