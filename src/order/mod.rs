//! The one order of all transactions that captured something.
//!
//! It guarantees what `docs/architecture.md` calls the order protocol: unique, rising stamps; a
//! closed timestamp that never falls and never waits for an open transaction; no reader ever ahead
//! of what a crash could take back. It runs in every backend and in the worker.
//!
//! - [`shared`]: the shared memory: clock, slots, databases, workers
//! - [`history`]: which history of which database this is
//! - [`prime`]: the clock is above everything in a database's log before anybody uses it
//! - [`ending`]: whether a transaction has left anything for its end
//! - [`transaction`]: the transaction callbacks that stamp, leave and wake
//! - [`reading`]: a closed timestamp and, after it, a snapshot
//! - [`prepared`]: two-phase commit
//! - [`resolving`]: noticing COMMIT PREPARED
//! - [`start`]: where a token starts
//! - [`wake`]: a committing backend wakes a waiting worker

pub mod ending;
pub mod history;
pub mod prepared;
pub mod prime;
pub mod reading;
pub mod resolving;
pub mod shared;
pub mod start;
pub mod transaction;
pub mod wake;

pub use history::history_id;
pub use start::start_position;

use crate::error::{Error, Kind, Result};
use crate::pg::unguarded;

/// Called once, in the postmaster.
pub fn init() {
    shared::init();
    transaction::init();
    resolving::init();
}

/// An error unless the library was loaded by the postmaster, without which there is no clock.
pub fn writable() -> Result<()> {
    shared::get().map(drop)
}

/// Microseconds since 1970.
pub fn now() -> i64 {
    unguarded::now() + event_source_model::time::EPOCH_MICROS
}

fn not_loaded() -> Error {
    Error::new(Kind::NotLoaded, "event_source is not loaded by the server")
        .detail("Its clock lives in shared memory, which is laid out when the server starts.")
        .hint("add event_source to shared_preload_libraries, as the first, and restart the server")
}
