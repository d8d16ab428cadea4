//! Stamps for committed prepared transactions that nobody else stamps.
//!
//! Usually the session of COMMIT PREPARED does it before it answers. When that session died in
//! between, and nobody changes anything, the worker does it, within [`EVERY`]. Runs in the worker,
//! on its only thread, outside a transaction.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::order::prepared::{self, Patience};
use crate::pg::transaction;

/// While a prepared transaction is pending the worker looks this often.
const EVERY: Duration = Duration::from_millis(100);

/// When the worker last looked.
#[derive(Debug)]
pub struct Settler {
    looked: Instant,
}

impl Settler {
    pub fn new() -> Self {
        Self { looked: Instant::now() }
    }

    /// Looks, if it is time.
    pub fn turn(&mut self) {
        if self.looked.elapsed() < EVERY || !is_pending() {
            return;
        }
        // A failure was logged; the next look comes in its time. Whoever gives out stamps at this
        // moment finds them all, so there is nothing to wait for.
        let _ = transaction::run(|| prepared::stamp_committed(Patience::GiveUp));
        self.looked = Instant::now();
    }

    /// The longest the worker may wait for something else, if it would wait for `longest`.
    pub fn limit(&self, longest: Duration) -> Duration {
        let next = EVERY.saturating_sub(self.looked.elapsed());
        if is_pending() { longest.min(next) } else { longest }
    }
}

/// On a standby nobody may write.
fn is_pending() -> bool {
    // SAFETY: reads shared state.
    let standby = unsafe { pg_sys::RecoveryInProgress() };
    !standby && prepared::is_pending().unwrap_or(false)
}
