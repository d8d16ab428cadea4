//! How much of a change one cage holds.
//!
//! Plain columns of PostgreSQL's own types never fail, and are looked at without any cage. For the others the whole
//! change is tried once in one cage; only when that fails is each part run again in its own, to find the source that is
//! to blame.

use std::time::Duration;

use event_source_model::source::Definition;
use pgrx::pg_sys;

use crate::cage;
use crate::cage::account::{self, Payer};
use crate::error::{Error, Kind, Result};
use crate::settings;

/// What all sources together may take for one change before each of them is run alone.
const TOGETHER: Duration = Duration::from_millis(50);

/// How the parts of a change are guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing can fail, except what asks for [`Guard::run`].
    Bare,
    /// All parts run in one cage: a failure ends the whole attempt.
    Together,
    /// Each part runs in a cage of its own.
    Apart,
}

impl Guard {
    /// Runs a part that may fail, at the payer's expense.
    pub(super) fn run<T>(self, payer: Payer, part: impl FnOnce() -> Result<T>) -> Result<T> {
        account::spend(payer, |longest| match self {
            Self::Together => part(),
            Self::Bare | Self::Apart => cage::run_for(longest, part),
        })
    }
}

/// Runs all parts of a change in one cage.
pub(super) fn together<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    cage::run_for(TOGETHER.min(settings::expression_timeout()), body)
}

/// Runs the opening of a source's definition, which may be older than the objects it names.
///
/// # Errors
/// [`Kind::SchemaChanged`] for whatever the definition's code raised.
pub(super) fn opening<T>(definition: &Definition, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let payer = Payer::of_statement(pg_sys::Oid::from(definition.role.oid));
    account::spend(payer, |longest| cage::run_for(longest, body)).map_err(unfit)
}

/// As [`opening`], for what is no source's own.
pub(super) fn reviewing<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    cage::run(body).map_err(unfit)
}

fn unfit(error: Error) -> Error {
    match error.kind {
        Kind::EvaluationFailed => {
            Error::new(Kind::SchemaChanged, "the event source no longer fits its table")
                .detail(error.message)
                .hint("get a new token")
        }
        _ => error,
    }
}
