//! One segment let go.
//!
//! It guarantees that nobody waits for it and that nothing is lost silently: the locks are taken
//! only if they are free, the files are exchanged rather than rows deleted, so no dead row is left,
//! and a floor says what is gone. Not SQL's TRUNCATE, which logical replication would ship. Runs in
//! the keeper's process, in a transaction of its own.

use event_source_model::stamp::{Collections, Stamp};
use pgrx::pg_sys;

use super::append;
use super::{floor, segment, stamps};
use crate::compat;
use crate::error::Result;
use crate::order::{now, prepared};
use crate::pg::relation::Relation;

/// Empties a segment; `false` when somebody holds on to it. To be committed by the caller.
pub fn empty(segment: usize) -> Result<bool> {
    let (stamps, changes) = (segment::stamp_table(segment)?, segment::change_table(segment)?);
    let Some(stamps) = Whole::lock(stamps) else { return Ok(false) };
    let Some(changes) = Whole::lock(changes) else { return Ok(false) };
    // A prepared transaction that was committed holds no lock any more, and its rows still wait for
    // their stamp.
    if prepared::segments_in_use()?[segment] {
        return Ok(false);
    }
    // Nobody writes here now, so this is the last position that anybody could have read.
    let last = stamps::last_committed(segment)?;
    stamps.exchange();
    changes.exchange();
    if let Some(last) = last {
        let floor = Stamp {
            txn_ts: last.txn_ts,
            xid: append::top_xid(),
            closed: last.txn_ts - 1,
            history: last.history,
            segment,
            collections: Collections::None,
            changes: 0,
            by_key: false,
            floor: true,
            committed_at: now(),
        };
        append::stamp(&floor, None)?;
        floor::raise_at_commit(last.txn_ts);
    }
    Ok(true)
}

/// A table and what is stored beside it, locked against everybody until the transaction ends.
pub(super) struct Whole {
    heap: Relation,
    toast: Option<Relation>,
}

impl Whole {
    pub(super) fn lock(table: pg_sys::Oid) -> Option<Self> {
        let heap = lock(table)?;
        // SAFETY: the relation is open.
        let beside = unsafe { (*heap.rd_rel).reltoastrelid };
        // Vacuum takes this one alone.
        let toast = if beside == pg_sys::InvalidOid { None } else { Some(lock(beside)?) };
        Some(Self { heap, toast })
    }

    /// New, empty files for the table and its indexes.
    fn exchange(&self) {
        for relation in [&self.heap].into_iter().chain(&self.toast) {
            // SAFETY: the relation is open under the strongest lock. Its statistics are told that no
            // row is left, dead or alive.
            unsafe {
                compat::set_new_files(relation.as_ptr());
                pg_sys::pgstat_count_truncate(relation.as_ptr());
            }
        }
        // SAFETY: locked as above.
        unsafe { compat::reindex(self.heap.oid()) }
    }
}

/// Opens a relation under the strongest lock if that is free; it stays to the transaction's end.
fn lock(oid: pg_sys::Oid) -> Option<Relation> {
    // SAFETY: takes any OID.
    let free = unsafe {
        pg_sys::ConditionalLockRelationOid(oid, pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE)
    };
    free.then(|| Relation::open_kept(oid, pg_sys::NoLock as pg_sys::LOCKMODE))
}
