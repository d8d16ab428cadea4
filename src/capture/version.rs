//! Which command made a row version and which one ended it.
//!
//! The order of changes inside a transaction is that of these ids: triggers fire in another order.
//! Runs in the writers' backends, on their only thread, and reads nothing but the tuple's header.

use event_source_model::change::RowVersion;
use pgrx::pg_sys;

/// COPY FREEZE makes versions of this transaction that look old, and whoever ends one overwrites
/// the command that made it: this stands for it at both ends.
const FROZEN_AT_BIRTH: u32 = u32::MAX;

/// Where and by which command of this transaction `tuple` was made.
///
/// # Safety
/// `tuple` is a tuple of a heap table, with its header.
pub(super) unsafe fn version(table: pg_sys::Oid, tuple: pg_sys::HeapTuple) -> RowVersion {
    // SAFETY: the caller's.
    unsafe { at(table, tuple, made_by((*tuple).t_data)) }
}

/// [`version`] of a tuple that this transaction made.
///
/// # Safety
/// As [`version`].
pub(super) unsafe fn new_version(table: pg_sys::Oid, tuple: pg_sys::HeapTuple) -> RowVersion {
    // SAFETY: the caller's.
    unsafe { at(table, tuple, Some(maker((*tuple).t_data))) }
}

/// # Safety
/// As [`version`].
unsafe fn at(table: pg_sys::Oid, tuple: pg_sys::HeapTuple, made_by: Option<u32>) -> RowVersion {
    // SAFETY: the caller's; a stored tuple has a place.
    let place = unsafe { (*tuple).t_self };
    RowVersion {
        table: table.to_u32(),
        block: u32::from(place.ip_blkid.bi_hi) << 16 | u32::from(place.ip_blkid.bi_lo),
        offset: place.ip_posid,
        made_by,
    }
}

/// The command that made `tuple`, which is a version of this transaction.
///
/// # Safety
/// As [`version`].
pub(super) unsafe fn command_of_new(tuple: pg_sys::HeapTuple) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        let header = (*tuple).t_data;
        if !is_frozen(header) {
            return cmin(header);
        }
        let stored = (*header).t_choice.t_heap.t_field3.t_cid;
        // Ended already, by a trigger that fired before ours: what is stored is the command that
        // did it, and this one was before it.
        if is_ended_here(header) { stored.saturating_sub(1) } else { stored }
    }
}

/// The command that deleted `tuple`, which this transaction did.
///
/// # Safety
/// As [`version`].
pub(super) unsafe fn command_of_deleted(tuple: pg_sys::HeapTuple) -> u32 {
    // SAFETY: the caller's.
    unsafe { pg_sys::HeapTupleHeaderGetCmax((*tuple).t_data) }
}

unsafe fn made_by(header: pg_sys::HeapTupleHeader) -> Option<u32> {
    // SAFETY: the caller's. The raw xmin is what the version was made with, frozen or not. That an
    // old version bears by chance our id of four billion transactions later does no harm: a
    // version that nobody made here is looked for and not found.
    unsafe {
        let mask = u32::from((*header).t_infomask) & pg_sys::HEAP_XMIN_FROZEN;
        // Known to be committed, and so by somebody else: spares the search of most old versions.
        let others = mask == pg_sys::HEAP_XMIN_COMMITTED
            || !pg_sys::TransactionIdIsCurrentTransactionId((*header).t_choice.t_heap.t_xmin);
        (!others).then(|| maker(header))
    }
}

/// The command that made a version of this transaction, as [`RowVersion`] has it.
unsafe fn maker(header: pg_sys::HeapTupleHeader) -> u32 {
    // SAFETY: the caller's.
    unsafe { if is_frozen(header) { FROZEN_AT_BIRTH } else { cmin(header) } }
}

unsafe fn cmin(header: pg_sys::HeapTupleHeader) -> u32 {
    // SAFETY: the caller's. Only where one transaction made and ended a version is it to be looked up.
    unsafe {
        if u32::from((*header).t_infomask) & pg_sys::HEAP_COMBOCID == 0 {
            (*header).t_choice.t_heap.t_field3.t_cid
        } else {
            pg_sys::HeapTupleHeaderGetCmin(header)
        }
    }
}

unsafe fn is_frozen(header: pg_sys::HeapTupleHeader) -> bool {
    // SAFETY: the caller's.
    let mask = u32::from(unsafe { (*header).t_infomask });
    mask & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN
}

/// Whether this transaction ended the version, and did not just lock it.
unsafe fn is_ended_here(header: pg_sys::HeapTupleHeader) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let mask = u32::from((*header).t_infomask);
        if mask & (pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_LOCK_ONLY) != 0 {
            return false;
        }
        let by = if mask & pg_sys::HEAP_XMAX_IS_MULTI == 0 {
            (*header).t_choice.t_heap.t_xmax
        } else {
            pg_sys::HeapTupleGetUpdateXid(header)
        };
        pg_sys::TransactionIdIsCurrentTransactionId(by)
    }
}
