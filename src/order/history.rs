//! Which history of which database this is.
//!
//! A history is one timeline of one database of one cluster. Cursors and tokens name theirs, so
//! that after a failover, a restore or a clone nobody silently goes on from a position that this
//! server never had.

use std::cell::Cell;

use event_source_model::position::{Cursor, Position};
use pgrx::pg_sys;
use sha2::{Digest as _, Sha256};

use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::log::stamps::Stamps;

thread_local! {
    /// Computed once on a primary; on a standby the timeline may change under us.
    static KNOWN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A hash of system identifier, timeline and database.
pub fn history_id() -> u64 {
    if let Some(id) = KNOWN.get() {
        return id;
    }
    // Before the timeline is read: a promotion in between must not make the old one permanent.
    // SAFETY: reads shared state.
    let recovering = unsafe { pg_sys::RecoveryInProgress() };
    // SAFETY: reads what the control file said at start.
    let system = unsafe { pg_sys::GetSystemIdentifier() };
    // SAFETY: set when the backend connected.
    let database = unsafe { pg_sys::MyDatabaseId };
    let mut hash = Sha256::new();
    hash.update(system.to_be_bytes());
    hash.update(compat::timeline().to_be_bytes());
    hash.update(database.to_u32().to_be_bytes());
    let digest = hash.finalize();
    let id = u64::from_be_bytes(*digest.first_chunk().expect("SHA-256 has more than eight bytes"));
    if !recovering {
        KNOWN.set(Some(id));
    }
    id
}

/// Checks that a position was given out by this history, or by an earlier one before this one
/// began. Needs an active snapshot.
///
/// # Errors
/// [`Kind::HistoryChanged`], with the last position that both histories share if there is one.
pub fn check(history: u64, position: &Position) -> Result<()> {
    if history == history_id() {
        return Ok(());
    }
    // The stamps of one history stand together. The position is common to both exactly when a
    // stamp at or behind it is of the history that gave it out.
    let mut from_here = Stamps::forward(position.txn_ts.saturating_sub(1), i64::MAX)?;
    let mut next = from_here.next()?;
    while next.as_ref().is_some_and(|stamp| stamp.floor) {
        next = from_here.next()?;
    }
    if next.is_some_and(|stamp| stamp.history == history) {
        return Ok(());
    }
    let mut error = Error::new(Kind::HistoryChanged, "the position is of another history")
        .detail(
            "The database was restored, cloned or failed over since, and may lack what was read.",
        )
        .hint("read the table anew and start from a new event source");
    let mut before = Stamps::backward(position.txn_ts)?;
    while let Some(stamp) = before.next()? {
        if stamp.history == history {
            let position = Position::after(stamp.txn_ts);
            error.cursor = Some(Cursor { history: history_id(), position }.encode());
            break;
        }
    }
    Err(error)
}
