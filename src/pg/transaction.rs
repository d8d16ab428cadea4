//! A transaction whose failure is a value.
//!
//! A background worker lives across thousands of transactions; one that fails must be rolled back
//! whole and leave the next one a clean start. Not for backends, whose transactions are the user's.

use std::panic::{AssertUnwindSafe, resume_unwind};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::pg::role::{ActingAs, NOBODY};

/// Runs `body` in a transaction of its own: committed when it returns, rolled back on any error. It begins without
/// any power, as [`NOBODY`]: whoever needs rights names the role that has them.
///
/// # Errors
/// What `body` gives, and PostgreSQL's own errors as [`Kind::Corrupted`], which are logged. FATAL
/// and a panic of Rust's go on.
pub fn run<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: outside a transaction, on the worker's only thread.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
    }
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
        let value = {
            let _nobody = ActingAs::restricted(NOBODY);
            body()?
        };
        // SAFETY: in the transaction begun above.
        unsafe { pg_sys::CommitTransactionCommand() };
        Ok(value)
    }))
    .catch_others(|caught| match caught {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
            log!("event_source: {}", report.message());
            let mut error = Error::new(Kind::Corrupted, report.message());
            error.hint = report.hint().map(ToOwned::to_owned);
            Err(error)
        }
        CaughtError::RustPanic { payload, .. } => resume_unwind(payload),
    })
    .execute();
    // SAFETY: a failed or refused transaction is still open; a committed one is not.
    unsafe {
        if outcome.is_err() {
            pg_sys::AbortCurrentTransaction();
            pg_sys::FlushErrorState();
        }
        // No client loop does this for a background worker.
        pg_sys::pgstat_report_stat(false);
    }
    outcome
}
