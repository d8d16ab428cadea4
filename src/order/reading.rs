//! A closed timestamp and, taken after it, a snapshot.
//!
//! **Invariant.** The closed timestamp is read first and the snapshot is taken after. The other way
//! round, a transaction that commits in between is promised by the one and missing from the other.

use pgrx::pg_sys;

use super::{now, prime, shared};
use crate::error::{Error, Kind, Result};
use crate::log::stamps::Stamps;
use crate::pg::snapshot::ActiveSnapshot;

/// Everything stamped at or before `closed` is visible while this lives.
#[derive(Debug)]
pub struct Reading {
    pub closed: i64,
    _snapshot: ActiveSnapshot,
}

impl Reading {
    /// # Errors
    /// In a SERIALIZABLE read-write transaction, whose predicate locks on the log would make other
    /// people's writes fail.
    pub fn begin() -> Result<Self> {
        // SAFETY: process state, set at the start of the transaction.
        let (isolation, read_only) = unsafe { (pg_sys::XactIsoLevel, pg_sys::XactReadOnly) };
        if isolation == pg_sys::XACT_SERIALIZABLE as i32 && !read_only {
            return Err(Error::new(
                Kind::WrongTransaction,
                "cannot read events in a serializable read-write transaction",
            )
            .detail("Its predicate locks on the change log would make other transactions fail.")
            .hint("use READ COMMITTED, or SET TRANSACTION READ ONLY"));
        }
        // SAFETY: reads shared state.
        if unsafe { pg_sys::RecoveryInProgress() } {
            Self::on_standby()
        } else {
            Self::on_primary()
        }
    }

    fn on_primary() -> Result<Self> {
        prime::prime()?;
        let shared = shared::get()?;
        // An idle clock moves on with its readers, so that they can tell how fresh it is.
        shared.clock.raise(now());
        let closed = shared.clock.closed(shared.slots());
        let lsn = shared.clock.commit_lsn();
        if lsn > 0 {
            // Nothing is published that a crash could take back. Free unless a writer used
            // synchronous_commit = off.
            // SAFETY: an LSN that a commit record of this server ended at.
            unsafe { pg_sys::XLogFlush(lsn) };
        }
        Ok(Self { closed, _snapshot: ActiveSnapshot::latest() })
    }

    /// Whatever the newest visible stamp knew to be closed is visible here too: it ended before
    /// that stamp committed.
    fn on_standby() -> Result<Self> {
        let snapshot = ActiveSnapshot::latest();
        let newest = Stamps::backward(i64::MAX)?.next()?;
        Ok(Self { closed: newest.map_or(0, |stamp| stamp.closed), _snapshot: snapshot })
    }
}
