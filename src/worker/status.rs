//! What `event_source.status` shows: the clock, who holds it, and the worker of this database.

use std::sync::atomic::Ordering::SeqCst;

use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use super::confined;
use super::state::State;
use crate::compat;
use crate::error::raised;
use crate::log::{floor, retention};
use crate::order::{prepared, prime, shared};

/// One row.
#[pg_extern(sql = false)]
#[expect(clippy::type_complexity, reason = "pg_extern reads the columns from the type")]
fn raw_status() -> TableIterator<
    'static,
    (
        name!(closed, i64),
        name!(last, i64),
        name!(holder_pid, Option<i32>),
        name!(holder_xid, Option<pg_sys::TransactionId>),
        name!(worker_pid, Option<i32>),
        name!(server_pid, Option<i32>),
        name!(servers_started, Option<i64>),
        name!(published, Option<i64>),
        name!(streams, Option<i32>),
        name!(loaded_first, bool),
        name!(segment, i32),
        name!(oldest, i64),
        name!(stuck, Vec<i32>),
        name!(state, Option<String>),
        name!(sandbox, Option<Vec<String>>),
    ),
> {
    raised(prime::prime());
    let shared = raised(shared::get());
    let closed = shared.clock.closed(shared.slots());
    let held = shared.slots().iter().enumerate().filter_map(|(i, slot)| Some((slot.held()?, i)));
    let holder = held.min().and_then(|(_, index)| compat::backend_of_index(index));
    // SAFETY: set when the backend connected.
    let database = unsafe { pg_sys::MyDatabaseId };
    let mut workers = shared.workers().iter();
    let worker = workers.find(|w| w.database.load(SeqCst) == database.to_u32());
    let pid = |pid: i32| (pid != 0).then_some(pid);
    let entry = shared.database(database);
    let segment = entry.map_or(0, |d| d.segment.load(SeqCst));
    TableIterator::once((
        closed,
        shared.clock.last(),
        holder.map(|(pid, _)| pid),
        holder.map(|(_, xid)| xid).filter(|&xid| xid != pg_sys::InvalidTransactionId),
        worker.and_then(|w| pid(w.pid.load(SeqCst))),
        worker.and_then(|w| pid(w.server_pid.load(SeqCst))),
        worker.map(|w| w.servers_started.load(SeqCst) as i64),
        worker.map(|w| w.published.load(SeqCst)),
        // As many as the server says that there are.
        worker.map(|w| i32::try_from(w.streams.load(SeqCst)).unwrap_or(i32::MAX)),
        loaded_first(),
        segment as i32,
        raised(floor::oldest()),
        entry.map(retention::stuck).unwrap_or_default(),
        worker.and_then(State::read),
        worker.and_then(confined::in_force),
    ))
}

/// Prepared transactions that captured something and are not over.
#[pg_extern(sql = false)]
fn raw_prepared() -> TableIterator<'static, (name!(open, i32), name!(unstamped, i32))> {
    let count = raised(prepared::status());
    TableIterator::once((count.open, count.unstamped))
}

/// Whether the library stands first in `shared_preload_libraries`, so that its PRE_COMMIT runs last.
fn loaded_first() -> bool {
    // SAFETY: a C string that is set when the server starts and stays.
    let list = unsafe {
        let list = pg_sys::shared_preload_libraries_string;
        if list.is_null() {
            return false;
        }
        std::ffi::CStr::from_ptr(list).to_string_lossy()
    };
    let first = list.split(',').next().unwrap_or_default().trim().trim_matches('"');
    first.rsplit('/').next().unwrap_or_default().trim_end_matches(".so") == "event_source"
}
