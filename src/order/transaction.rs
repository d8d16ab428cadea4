//! The transaction callbacks: one permanent pair, for the life of the process.
//!
//! ```text
//! PRE_COMMIT   the slot is published, the stamp taken, the stamp row written     may raise
//! PRE_PREPARE  what was captured is written out, without a stamp                 may raise
//! COMMIT       the slot is left, the worker woken                               must not fail
//! ABORT        the slot is left, what was captured forgotten                    must not fail
//! PREPARE      what was captured is forgotten: it is in rows                     must not fail
//! ```
//!
//! An error in the last three is a PANIC of the whole cluster: only atomics, cells and SetLatch there.
//! The library belongs first in `shared_preload_libraries`: callbacks run in the reverse order of
//! registration, so our PRE_COMMIT then runs last and stamps what all others wrote. What is
//! captured after it all the same takes a new stamp.

use std::cell::Cell;
use std::ffi::c_void;

use pgrx::pg_sys::{SubXactEvent, XactEvent};
use pgrx::prelude::*;

use super::{ending, now, prepared, resolving, shared, wake};
use crate::capture::truncated;
use crate::error::{Result, raised};
use crate::log::{buffer, floor, retention, shapes};

/// A closed timestamp older than this is computed anew for the stamp, so that tokens, which start
/// from the stamps, stay short also when nobody reads.
const CLOSED_AGE_MICROS: i64 = 10_000;

thread_local! {
    /// This transaction holds its slot.
    static STAMPED: Cell<bool> = const { Cell::new(false) };
}

/// Registers the callbacks; called in the postmaster and inherited by every process.
pub fn init() {
    // SAFETY: the functions live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
    }
}

/// Whether this transaction has its stamp already, so that what is captured now comes late.
pub fn stamped() -> bool {
    STAMPED.get()
}

/// A position in the one order.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub txn_ts: i64,
    /// The closed timestamp below it.
    pub closed: i64,
    /// The wall clock, in microseconds since 1970.
    pub at: i64,
}

/// Takes a stamp for this transaction.
///
/// A stamp without changes holds nobody up: a reader that misses it misses nothing, and the worker,
/// which writes most of them, would otherwise delay other people's commits while it waits for a CPU.
pub fn take_stamp(has_changes: bool) -> Result<Taken> {
    let shared = shared::get()?;
    // Before the slot is touched, so that an abort from here on leaves it.
    ending::await_it();
    STAMPED.set(true);
    let at = now();
    let txn_ts =
        if has_changes { shared.clock.enter(shared.my_slot(), at) } else { shared.clock.tick(at) };
    let known = shared.clock.known_closed();
    let fresh = txn_ts - known < CLOSED_AGE_MICROS;
    let closed = if fresh { known } else { shared.clock.closed(shared.slots()) };
    // Only the deliberate fault of the test build can make it otherwise.
    Ok(Taken { txn_ts, closed: closed.min(txn_ts - 1), at })
}

/// Every transaction of the server comes here, and most have nothing of ours: those pay for a look. It is not
/// guarded, since the guard costs more than that; nothing here has a destructor.
unsafe extern "C-unwind" fn on_transaction(event: XactEvent::Type, _arg: *mut c_void) {
    if ending::is_awaited() || resolving::may_go_unnoticed() {
        // SAFETY: as PostgreSQL called this.
        unsafe { on_awaited(event) }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_awaited(event: XactEvent::Type) {
    match event {
        XactEvent::XACT_EVENT_PRE_COMMIT => raised(before_commit()),
        XactEvent::XACT_EVENT_PRE_PREPARE => raised(prepared::before_prepare()),
        XactEvent::XACT_EVENT_COMMIT => end(true),
        XactEvent::XACT_EVENT_ABORT => end(false),
        // A transaction that is being prepared has no stamp and no slot.
        XactEvent::XACT_EVENT_PREPARE => leave(false),
        // A parallel worker's end; the leader's transaction is what was captured.
        _ => {}
    }
}

fn before_commit() -> Result<()> {
    if buffer::has_captured() {
        return buffer::stamp();
    }
    if resolving::may_have_resolved() { prepared::stamp_resolved() } else { Ok(()) }
}

/// The floor rises before the slot is left: whoever reads behind this transaction knows of it.
fn end(committed: bool) {
    retention::settle(committed);
    floor::settle(committed);
    leave(committed);
}

fn leave(committed: bool) {
    buffer::forget();
    shapes::settle(committed);
    resolving::forget();
    truncated::forget_since(0);
    ending::came();
    if !STAMPED.replace(false) {
        return;
    }
    let Ok(shared) = shared::get() else { return };
    let slot = shared.my_slot();
    if committed {
        // SAFETY: set by RecordTransactionCommit, before the callbacks run.
        let lsn = unsafe { pg_sys::XactLastCommitEnd };
        shared.clock.leave(slot, lsn);
    } else {
        shared.clock.abandon(slot);
    }
    wake::wake(shared, committed);
}

unsafe extern "C-unwind" fn on_subtransaction(
    event: SubXactEvent::Type,
    mine: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut c_void,
) {
    if ending::is_awaited() {
        // SAFETY: as PostgreSQL called this.
        unsafe { on_savepoint_of_awaited(event, mine, parent) }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_savepoint_of_awaited(
    event: SubXactEvent::Type,
    mine: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
) {
    match event {
        SubXactEvent::SUBXACT_EVENT_PRE_COMMIT_SUB => {
            raised(buffer::before_subcommit(mine, parent));
        }
        SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => buffer::subcommit(mine, parent),
        SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            buffer::subabort(mine);
            shapes::subabort(mine);
            truncated::forget_since(mine);
        }
        _ => {}
    }
}
