//! Where the log begins.
//!
//! What was let go is said by a floor: a stamp without a transaction, the first row of a segment
//! that was emptied, at the highest position that was in it. The highest floor is where the log
//! begins, and no reader below it is ever silently moved on.
//!
//! **Invariant.** A reader holds its locks on the segments first and looks at the floor after. A
//! segment is emptied only under a lock that waits for nobody, and the shared floor is raised
//! before that lock is let go: so whoever finds the floor below its position reads everything.

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;

use event_source_model::position::{Cursor, Position};
use pgrx::prelude::*;

use super::stamps::Stamps;
use super::{SEGMENTS, stamps};
use crate::error::{Error, Kind, Result};
use crate::order::{ending, history, shared};

thread_local! {
    /// What this transaction raises the floor to, if it commits.
    static RISING: Cell<i64> = const { Cell::new(0) };
}

/// Everything at or below it was let go; 0 when nothing was.
pub fn current() -> Result<i64> {
    // SAFETY: process and shared state.
    let (recovering, database) = unsafe { (pg_sys::RecoveryInProgress(), pg_sys::MyDatabaseId) };
    let known = if recovering { None } else { shared::get()?.database(database) };
    if let Some(entry) = known.filter(|entry| entry.primed.load(SeqCst)) {
        return Ok(entry.floor.load(SeqCst));
    }
    let mut highest = 0;
    for segment in 0..SEGMENTS {
        highest = highest.max(stamps::floor_of(segment)?.unwrap_or(0));
    }
    Ok(highest)
}

/// The oldest position from which the log can be read: while nothing was let go, what the oldest stamp
/// knew to be closed. Needs an active snapshot.
pub fn oldest() -> Result<i64> {
    // A log of which something was let go knows it without a look at its segments.
    let floor = current()?;
    if floor != 0 {
        return Ok(floor);
    }
    let first = Stamps::forward(0, i64::MAX)?.next()?;
    // Again: it may have risen in between.
    Ok(match current()? {
        0 => first.map_or(0, |stamp| stamp.closed),
        floor => floor,
    })
}

/// Whether a reader at this position can be given everything behind it. To be asked while the
/// reader holds the segments that it reads.
///
/// # Errors
/// [`Kind::PositionGone`], with the oldest position that is left.
pub fn check(position: &Position) -> Result<()> {
    let floor = current()?;
    // Inside a transaction the rest of that transaction is wanted too.
    let inside = position.txn_ts == floor && position.ordinal != Position::END;
    if floor == 0 || (position.txn_ts >= floor && !inside) { Ok(()) } else { Err(gone(floor)) }
}

/// The answer to a reader whose position is no longer in the log, which begins behind `oldest`.
pub fn gone(oldest: i64) -> Error {
    let position = Position::after(oldest);
    let cursor = Cursor { history: history::history_id(), position }.encode();
    let mut error = Error::new(Kind::PositionGone, "the position is too far in the past")
        .detail(format!("The oldest position left is {cursor}."))
        .hint("read the table anew and start from a new event source");
    error.cursor = Some(cursor);
    error
}

/// The shared floor rises to `txn_ts` when this transaction commits, and not otherwise.
pub(super) fn raise_at_commit(txn_ts: i64) {
    ending::await_it();
    RISING.set(txn_ts);
}

/// The transaction ended. Runs before its locks are let go; must not fail.
pub fn settle(committed: bool) {
    let rising = RISING.replace(0);
    if !committed || rising == 0 {
        return;
    }
    let Ok(shared) = shared::get() else { return };
    // SAFETY: set when the backend connected.
    if let Some(entry) = shared.database(unsafe { pg_sys::MyDatabaseId }) {
        entry.floor.fetch_max(rising, SeqCst);
    }
}
