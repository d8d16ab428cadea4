//! A process that looks after one database's log and ends.
//!
//! Not the worker's task: emptying a large segment takes a moment, and the tail must not wait for
//! it; and a log that nobody serves grows as well. SIGTERM ends it wherever it is.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::backend;
use crate::log::retention;

/// The keeper's main function. The argument is the database's OID.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn event_source_keeper(argument: pg_sys::Datum) {
    backend::install_signal_handlers();
    // SAFETY: once, first thing; FATAL when the database was dropped.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            pg_sys::Oid::from(argument.value() as u32),
            pg_sys::InvalidOid,
            0,
        );
    }
    backend::pin_settings();
    backend::report_activity(c"looking after the change log");
    if let Err(error) = retention::keep() {
        warning!("event_source cannot keep the change log small: {error}");
    }
}
