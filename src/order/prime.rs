//! The clock is above everything in a database's log before anybody there stamps or reads.
//!
//! After a start or a promotion the clock knows nothing; a wall clock that was set back would then
//! give out positions that readers have already passed.

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;

use pgrx::pg_sys;

use super::{now, shared};
use crate::error::Result;
use crate::log::SEGMENTS;
use crate::log::prepared::Table;
use crate::log::stamps;

/// A reader may have passed a heartbeat stamp that was not on disk yet; the worker writes one at least
/// this often. When the log shows that the wall clock was set back, the first stamp must be above
/// that as well, or its reader would never see it.
const AGED: i64 = 60_000_000;

thread_local! {
    /// This backend has seen its database primed; spares the search on every transaction.
    static PRIMED: Cell<bool> = const { Cell::new(false) };
}

/// Primes this backend's database unless that was done since the server started. Does nothing in
/// recovery, where nobody stamps and the clock is not used.
pub fn prime() -> Result<()> {
    if PRIMED.get() {
        return Ok(());
    }
    let shared = shared::get()?;
    // SAFETY: both read shared or process state.
    let (recovering, database) = unsafe { (pg_sys::RecoveryInProgress(), pg_sys::MyDatabaseId) };
    if recovering {
        return Ok(());
    }
    let entry = shared.database(database);
    if !entry.is_some_and(|e| e.primed.load(SeqCst)) {
        let (mut newest, mut highest_floor) = ([0; SEGMENTS], 0);
        for (segment, newest) in newest.iter_mut().enumerate() {
            let floor = stamps::floor_of(segment)?.unwrap_or(0);
            highest_floor = highest_floor.max(floor);
            *newest = stamps::span_ever(segment)?.map_or(floor, |(_, last)| last);
        }
        // Prepared transactions are stamped in the order of the clock at their PREPARE.
        let prepared = Table::to_look().map_or(Ok(0), |table| table.newest_ever())?;
        let highest = newest.iter().copied().fold(prepared, i64::max);
        let set_back = highest > now();
        shared.clock.raise(highest + if set_back { AGED } else { 0 });
        if let Some(entry) = entry {
            for (bound, newest) in entry.newest.iter().zip(newest) {
                bound.fetch_max(newest, SeqCst);
            }
            entry.floor.fetch_max(highest_floor, SeqCst);
            let current = (0..SEGMENTS).rev().max_by_key(|&s| newest[s]).unwrap_or(0);
            // Two backends may come here at once; both found the same.
            entry.segment.store(current as u32, SeqCst);
            entry.primed.store(true, SeqCst);
        }
    }
    PRIMED.set(true);
    Ok(())
}
