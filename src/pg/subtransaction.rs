//! Running code of users so that its ERROR is a value, not the end of the transaction.

use std::panic::{AssertUnwindSafe, resume_unwind};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};

/// Runs `body` in a subtransaction: committed when it succeeds, rolled back when it fails or
/// PostgreSQL raises an ERROR in it, which comes back as [`Kind::EvaluationFailed`], or as
/// [`Kind::Contended`] when a lock was waited for too long.
///
/// # Errors
/// Only errors of the data and of user code are caught. A cancelled query, a shutdown or a lack of
/// memory goes on to the caller's caller.
pub fn run<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch(body, catchable, Keep::WhatSucceeds)
}

/// As [`run`], with every ERROR caught: where the caller's caller must not fail.
pub fn attempt<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch(body, |_| true, Keep::WhatSucceeds)
}

/// Runs `body` in a read-only subtransaction that leaves nothing: it is rolled back whatever comes of it. Every ERROR is
/// caught.
pub fn passing<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let read_only = || {
        // SAFETY: a flag of the transaction's; the end of the subtransaction gives it back, and no code in it can.
        unsafe { pg_sys::XactReadOnly = true };
        body()
    };
    catch(read_only, |_| true, Keep::Nothing)
}

/// Which subtransactions are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    WhatSucceeds,
    Nothing,
}

fn catch<T>(
    body: impl FnOnce() -> Result<T>,
    catchable: fn(PgSqlErrorCode) -> bool,
    keep: Keep,
) -> Result<T> {
    // SAFETY: the usual PL pattern; context and owner are put back on both ways out.
    let (context, owner) = unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner) };
    // SAFETY: in a transaction, outside parallel mode.
    unsafe { pg_sys::BeginInternalSubTransaction(std::ptr::null()) };
    // SAFETY: the subtransaction's own context would be gone with it.
    unsafe { pg_sys::MemoryContextSwitchTo(context) };
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
        let value = body();
        // SAFETY: ends what was begun above; nothing in `body` leaves one open.
        unsafe {
            if value.is_ok() && keep == Keep::WhatSucceeds {
                pg_sys::ReleaseCurrentSubTransaction();
            } else {
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
            }
        }
        value
    }))
    .catch_others(|caught| {
        // SAFETY: the subtransaction is in progress or failed; this ends it either way.
        unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
        match caught {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)
                if catchable(report.sql_error_code()) =>
            {
                Err(match report.sql_error_code() {
                    PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE => locked(),
                    _ => Error::new(Kind::EvaluationFailed, report.message()),
                })
            }
            CaughtError::RustPanic { payload, .. } => resume_unwind(payload),
            other => other.rethrow(),
        }
    })
    .execute();
    // SAFETY: both were current when we came and outlive the subtransaction.
    unsafe {
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    outcome
}

fn locked() -> Error {
    Error::new(Kind::Contended, "the table is locked by another transaction").hint("try again")
}

fn catchable(code: PgSqlErrorCode) -> bool {
    !matches!(
        code,
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED
            | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY
    )
}
