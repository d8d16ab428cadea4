//! Running what may raise an ERROR because of a source's definition or a row's values.
//!
//! Plain columns of PostgreSQL's own types never do, and are looked at without any guard. For the
//! others the whole change is tried once in one subtransaction; only when that fails is each part
//! run again in its own, to find the source that is to blame.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::deadline::{Deadline, LIMIT};
use crate::error::{Error, Kind, Result};
use crate::pg::pinned::PinnedSettings;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::subtransaction;

/// How the parts of a change are guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing can fail, except what asks for [`Guard::run`].
    Bare,
    /// All parts run in one subtransaction: a failure ends the whole attempt.
    Together,
    /// Each part runs in a subtransaction of its own.
    Apart,
}

impl Guard {
    /// Runs a part that may fail.
    pub(super) fn run<T>(self, part: impl FnOnce() -> Result<T>) -> Result<T> {
        match self {
            Self::Together => part(),
            Self::Bare | Self::Apart => guarded(part),
        }
    }
}

/// Runs the opening of a source's definition, which may be older than the objects it names.
///
/// # Errors
/// [`Kind::SchemaChanged`] for whatever the definition's code raised.
pub(super) fn opening<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    guarded(body).map_err(|error| match error.kind {
        Kind::EvaluationFailed => {
            Error::new(Kind::SchemaChanged, "the event source no longer fits its table")
                .detail(error.message)
                .hint("get a new token")
        }
        _ => error,
    })
}

/// Runs code of users in a subtransaction, with pinned settings, a snapshot and a deadline.
///
/// # Errors
/// [`Kind::EvaluationFailed`] for whatever the code raised, and when it took too long.
pub(crate) fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    bounded(|| {
        let _pinned = PinnedSettings::enter();
        // SAFETY: only looks at the stack of snapshots.
        let _snapshot = (!unsafe { pg_sys::ActiveSnapshotSet() }).then(ActiveSnapshot::transaction);
        body()
    })
}

/// Runs code of users in a subtransaction, with a deadline.
///
/// # Errors
/// As [`guarded`].
pub(crate) fn bounded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: a subtransaction that ends by a cancel passes on without putting them back.
    let (context, owner) = unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner) };
    let deadline = AssertUnwindSafe(std::cell::Cell::new(Some(Deadline::start())));
    let passed = || deadline.take().is_some_and(Deadline::passed);
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| subtransaction::run(body)))
        .catch_when(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |cancel| {
            if !passed() {
                cancel.rethrow()
            }
            // SAFETY: both were current when we came and outlive the subtransaction.
            unsafe {
                pg_sys::MemoryContextSwitchTo(context);
                pg_sys::CurrentResourceOwner = owner;
            }
            let limit = format!("{} ms", LIMIT.as_millis());
            Err(Error::new(Kind::EvaluationFailed, format!("an expression took more than {limit}")))
        })
        .execute();
    passed();
    outcome
}
