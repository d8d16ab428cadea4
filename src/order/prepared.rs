//! Two-phase commit: a prepared transaction gets its stamp from somebody else, after its commit.
//!
//! It guarantees that a transaction which was prepared and committed has exactly one stamp, below
//! the stamp of everything that depends on it and above everything that it depends on, whoever
//! commits it and whatever dies in between. Runs in every backend and in the worker; nothing here
//! may be called in COMMIT or ABORT.
//!
//! COMMIT PREPARED runs no code of ours before the transaction is visible and its row locks are
//! gone, so a transaction that waited for such a lock may commit first. Therefore:
//!
//! - **PREPARE** writes the changes out as rows, inserts one row into the table `prepared`, and then
//!   raises a shared counter. The row is a part of the transaction: it is visible exactly when the
//!   transaction is.
//! - **Whoever stamps** a transaction of its own looks into that table first, while anything is
//!   pending. A transaction D that depends on a prepared P could read or lock P's rows only when P
//!   no longer ran; D's look comes later, so it finds P's row unless a stamp of P is committed. If
//!   it finds rows it takes a lock that is held to the end of the transaction, looks again, and for
//!   each row writes the stamp and deletes the row; only then it takes the stamp of D. Another one
//!   that looks meanwhile finds the row too (its deletion is not committed), and waits for the lock.
//!   If D aborts, stamp and deletion go with it, and the next one finds the row again.
//! - **Among prepared ones** the clock at PREPARE decides: if P depends on P0, then P0 was prepared
//!   before it was committed, and that was before P was prepared. A look is one snapshot, so one that
//!   finds P has found P0 as well, or P0's stamp is committed.
//! - **Above what was promised.** The slot of D is published at the first stamp that D gives and stays
//!   there until D has ended, so no closed timestamp passes P's stamp before it is visible.
//! - **The session of COMMIT PREPARED** does the same before it answers, in an implicit transaction of
//!   its own ([`super::resolving`]). So does the worker, for those whose session died in between.
//!
//! Pending: the counter `raised` counts PREPAREs, `settled` says up to which of them everything is
//! over. A look reads `raised`, then the table; if no row of a running or unstamped transaction is
//! there, all PREPAREs that it counted are over, since each wrote its row before it raised. A look of a
//! transaction that gave stamps itself says nothing, since it may still abort.
//!
//! **Tokens.** A statement that sees P but not P's stamp must not be told of P again: see
//! [`super::start`].

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use event_source_model::stamp::Stamp;
use pgrx::prelude::*;

use super::{history_id, prime, shared, transaction};
use crate::error::Result;
use crate::log::append;
use crate::log::prepared::{Prepared, State, Table, unstamped};
use crate::log::{SEGMENTS, buffer};
use crate::pg::subtransaction;

/// What is known of a database's prepared transactions; zeroed memory knows nothing.
#[derive(Debug)]
#[repr(C)]
pub struct Pending {
    /// PREPAREs of transactions that captured something, since the server started.
    raised: AtomicU64,
    /// One more than the number of PREPAREs that are known to be over; 0 after a start, when
    /// nobody has looked yet at what is left from before it.
    settled: AtomicU64,
}

/// What to do when somebody else is giving out stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Wait,
    GiveUp,
}

/// How many prepared transactions captured something and are not over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub open: i32,
    pub unstamped: i32,
}

/// Whether a prepared transaction of this database may wait for its stamp, now or later.
pub fn is_pending() -> Result<bool> {
    Ok(pending()?.is_none_or(|p| p.settled.load(SeqCst) != p.raised.load(SeqCst) + 1))
}

/// PRE_PREPARE: what this transaction captured is written out, to be stamped when it is committed.
pub fn before_prepare() -> Result<()> {
    if buffer::before_prepare()?
        && let Some(pending) = pending()?
    {
        pending.raised.fetch_add(1, SeqCst);
    }
    Ok(())
}

/// Gives their stamps to all prepared transactions that are committed and have none. They count
/// once this transaction commits.
pub fn stamp_committed(patience: Patience) -> Result<()> {
    if !is_pending()? {
        return Ok(());
    }
    let pending = pending()?;
    let raised = pending.map(|pending| pending.raised.load(SeqCst));
    let count = match Table::to_look() {
        None => Count::default(),
        Some(table) => count(&table)?,
    };
    if count.unstamped > 0 {
        return stamp_found(patience);
    }
    if count.open == 0
        && !transaction::stamped()
        && let (Some(pending), Some(raised)) = (pending, raised)
    {
        pending.settled.fetch_max(raised + 1, SeqCst);
    }
    Ok(())
}

/// PRE_COMMIT of a session that has executed COMMIT PREPARED. That commit stands, so a failure here
/// is not one of the statement.
pub fn stamp_resolved() -> Result<()> {
    if !is_pending()? {
        return Ok(());
    }
    if let Err(error) = subtransaction::attempt(|| stamp_committed(Patience::Wait)) {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            "the prepared transaction was committed, but its events are delayed",
            format!(
                "Its place in the change log could not be written: {error}. The worker, or the next transaction that changes a captured table, will write it."
            )
        );
    }
    Ok(())
}

/// The segments that hold changes of a prepared transaction which is not over: they must not be
/// emptied. For whoever has locked a segment already: a transaction that is prepared holds a lock
/// on its segment, and one that is committed is found here until its stamp is in the segment.
pub fn segments_in_use() -> Result<[bool; SEGMENTS]> {
    let mut used = [false; SEGMENTS];
    if is_pending()?
        && let Some(table) = Table::to_look()
    {
        table.look(|_, row| {
            used[row.segment()?] = true;
            Ok(())
        })?;
    }
    Ok(used)
}

/// What `event_source.status` shows.
pub fn status() -> Result<Count> {
    Table::to_look().as_ref().map_or_else(|| Ok(Count::default()), count)
}

fn pending() -> Result<Option<&'static Pending>> {
    // SAFETY: set when the backend connected.
    let database = unsafe { pg_sys::MyDatabaseId };
    Ok(shared::get()?.database(database).map(|entry| &entry.prepared))
}

fn count(table: &Table) -> Result<Count> {
    let mut count = Count::default();
    table.look(|state, _| {
        match state {
            State::Open => count.open += 1,
            State::Unstamped => count.unstamped += 1,
        }
        Ok(())
    })?;
    Ok(count)
}

/// A look found some: one at a time gives out stamps, and looks again when it is its turn.
fn stamp_found(patience: Patience) -> Result<()> {
    let Some(lock) = StampingLock::take(patience)? else { return Ok(()) };
    // Not kept open for changing before: others of them may be prepared at this moment.
    let mut found = unstamped()?;
    if found.is_empty() {
        // Somebody has done it. Holding the lock on would have the others wait for our flush.
        lock.release();
        return Ok(());
    }
    prime::prime()?;
    // As durable as the commit of a prepared transaction itself: a token that lists the stamp must
    // not outlive it.
    // SAFETY: a flag of this transaction.
    unsafe { pg_sys::ForceSyncCommit() };
    found.sort_by_key(|(prepared, _)| prepared.prepared_at);
    let table = Table::to_change()?;
    for (prepared, tid) in found {
        stamp(&prepared)?;
        table.delete(tid);
    }
    Ok(())
}

fn stamp(prepared: &Prepared) -> Result<()> {
    let taken = transaction::take_stamp(true)?;
    buffer::fold_newest(prepared.segment, taken.txn_ts)?;
    let stamp = Stamp {
        txn_ts: taken.txn_ts,
        xid: prepared.xid as u64,
        closed: taken.closed,
        history: history_id(),
        segment: prepared.segment,
        collections: prepared.collections.as_slice().into(),
        changes: prepared.changes,
        by_key: prepared.by_key,
        floor: false,
        committed_at: taken.at,
    };
    append::stamp(&stamp, None)?;
    Ok(())
}

/// Held by whoever gives out stamps, to the end of its transaction: until then nobody can know
/// whether they will count. A lock of the object, not of the table: prepared transactions hold
/// locks on the table, and VACUUM wants one.
struct StampingLock(pg_sys::Oid);

impl StampingLock {
    const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

    fn take(patience: Patience) -> Result<Option<Self>> {
        let Some(table) = Table::to_look().map(|table| table.oid()) else { return Ok(None) };
        let class = pg_sys::RelationRelationId;
        // SAFETY: a lock of an object of this database, in a transaction.
        let taken = unsafe {
            match patience {
                Patience::GiveUp => {
                    pg_sys::ConditionalLockDatabaseObject(class, table, 0, Self::MODE)
                }
                Patience::Wait => {
                    pg_sys::LockDatabaseObject(class, table, 0, Self::MODE);
                    true
                }
            }
        };
        Ok(taken.then_some(Self(table)))
    }

    fn release(self) {
        // SAFETY: taken by this handle.
        unsafe { pg_sys::UnlockDatabaseObject(pg_sys::RelationRelationId, self.0, 0, Self::MODE) }
    }
}
