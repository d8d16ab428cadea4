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
    // SAFETY: the caller's; a stored tuple has a valid place.
    unsafe {
        let place = &raw const (*tuple).t_self;
        RowVersion {
            table: table.to_u32(),
            block: pgrx::itemptr::item_pointer_get_block_number(place),
            offset: pgrx::itemptr::item_pointer_get_offset_number(place),
            made_by: made_by((*tuple).t_data),
        }
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
            return pg_sys::HeapTupleHeaderGetCmin(header);
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
        if !pg_sys::TransactionIdIsCurrentTransactionId((*header).t_choice.t_heap.t_xmin) {
            None
        } else if is_frozen(header) {
            Some(FROZEN_AT_BIRTH)
        } else {
            Some(pg_sys::HeapTupleHeaderGetCmin(header))
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
