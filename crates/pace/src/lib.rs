//! How long a look at the log waits for company, and in [`account`] which source has had its share of time.
//!
//! What a look costs (a flush, a snapshot, a message, two wake-ups) is the same for one transaction and for a
//! hundred. While few are committed each is looked at by itself, at once; under load the next look waits, so that
//! its cost is shared. This guarantees that nobody waits at up to [`UNHURRIED`] transactions a millisecond, nor
//! ever longer than [`LONGEST`]; that a burst by itself makes nobody wait; and that the wait depends on the rate
//! alone, not on how the looks happened to fall: by what one look found, a busy writer met at the wrong moment was
//! looked at one transaction at a time, for as long as it wrote, at three times the cost.
//!
//! It knows no clock: its caller says when.
#![forbid(unsafe_code)]

pub mod account;

use std::time::{Duration, Instant};

/// The longest that a look waits.
pub const LONGEST: Duration = Duration::from_millis(20);
/// Up to so many transactions a millisecond, nobody waits.
pub const UNHURRIED: f64 = 1.0;
/// The rate is that of so long: some looks under load, and longer than most bursts.
const MEMORY: Duration = Duration::from_millis(32);

/// The rate at which looks find transactions.
#[derive(Debug)]
pub struct Pace {
    /// Transactions a millisecond; what was before counts e times less for each [`MEMORY`] that passed.
    rate: f64,
    looked: Instant,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { rate: 0.0, looked: now }
    }

    /// A look that ended now found so many transactions: how long the next one waits. Whole milliseconds,
    /// since nothing in PostgreSQL waits for less.
    pub fn behind(&mut self, found: u32, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.looked).max(Duration::from_micros(1));
        self.looked = now;
        let fresh = f64::from(found) / millis(passed);
        // Exact for transactions that are spread evenly over the time that passed.
        let weight = 1.0 - (-millis(passed) / millis(MEMORY)).exp();
        self.rate += (fresh - self.rate) * weight;
        // Nothing there: the load is over, and whoever comes next need not wait.
        if found == 0 {
            return Duration::ZERO;
        }
        let above = (self.rate - UNHURRIED).max(0.0);
        Duration::from_millis((above * above).min(millis(LONGEST)) as u64)
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
