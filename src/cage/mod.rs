//! Code that users define: filters, operators, types' functions, domains, index expressions.
//!
//! All of it runs here and nowhere else, in the worker and in backends, on the process's only thread, inside a
//! transaction. [`run`] guarantees:
//!
//! - **As whom.** The code runs as nobody until the caller says whose it is, by [`Acting`]: the role of a token for
//!   the token's expressions, the owner of a table for the table's types, domains and indexes. The context is
//!   security-restricted, and in a worker `session_user` is that role too.
//! - **Nothing stays.** It is a subtransaction that is read-only and always rolled back: settings, row and table
//!   locks, notifications. What a rollback does not undo is refused ([`refused`]).
//! - **It ends.** A deadline, and a limit of memory, which the code cannot swallow ([`deadline`]). Every ERROR in it
//!   is a value, whatever its SQLSTATE says: it belongs to the event source and ends nothing else. Only a session's own
//!   cancel goes on as one.
//! - **It is paid for.** In a worker each role and each source has an account ([`account`]).
//!
//! Code of PostgreSQL's own for values of its own types that cannot fail needs no cage. `tools/lint.sh` knows the
//! places that call PostgreSQL's function manager, its parser or SPI; each either runs inside the cage or
//! says why it need not.

pub(crate) mod account;
mod acting;
mod code;
mod deadline;
mod refused;

use std::cell::Cell;
use std::time::Duration;

pub(crate) use self::acting::Acting;
pub(crate) use self::code::reading_calls_code;
use self::deadline::{Deadline, Passed};
use crate::error::{Error, Kind, Result};
use crate::pg::pinned::PinnedSettings;
use crate::pg::role::{ActingAs, NOBODY};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::subtransaction;
use crate::settings;

thread_local! {
    /// How many cages are open, one inside the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Called once, in the postmaster.
pub fn init() {
    refused::init();
}

/// Whether a cage is open in this process.
fn is_open() -> bool {
    DEPTH.get() > 0
}

/// Runs `body` in a cage, for at most `event_source.expression_timeout`.
///
/// # Errors
/// Those of `body`; [`Kind::EvaluationFailed`] for whatever the code raised, [`Kind::Contended`] when a lock was waited
/// for too long, [`Kind::TookTooMuch`] when it took too much time or memory.
pub(crate) fn run<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    run_for(settings::expression_timeout(), body)
}

/// As [`run`], for at most `longest`. Inside another cage, the time of that one counts.
pub(crate) fn run_for<T>(longest: Duration, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let caged = || {
        let _pinned = PinnedSettings::enter_for_code();
        let _nobody = ActingAs::restricted(NOBODY);
        let _snapshot = ActiveSnapshot::ensure();
        body()
    };
    if is_open() {
        return subtransaction::passing(caged);
    }
    let opened = Opened::new();
    let deadline = Deadline::start(longest);
    let outcome = subtransaction::passing(caged);
    let passed = deadline.end();
    drop(opened);
    match passed {
        Passed::Nothing => outcome,
        Passed::Time => Err(Error::new(
            Kind::TookTooMuch,
            format!(
                "the expressions of the event source took more than {} ms",
                longest.as_millis()
            ),
        )
        .hint("use a cheaper filter, or ask for event_source.expression_timeout to be raised")),
        Passed::Memory => Err(Error::new(
            Kind::TookTooMuch,
            "the expressions of the event source took too much memory",
        )
        .hint("use a cheaper filter, or ask for event_source.expression_memory to be raised")),
    }
}

/// A cage is open until this is dropped.
struct Opened {
    _frozen: refused::Frozen,
}

impl Opened {
    fn new() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self { _frozen: refused::Frozen::new() }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
