//! What a peer sends without asking for anything, and what it asks for without wanting an answer.
//!
//! Pings, settings, windows, priorities, empty frames, messages that nobody reads: each costs little, and is
//! answered before the next is read. So all of them are counted alike, in bytes, against what the peer has been
//! given reasons for: requests, their bodies, and what was sent to it. Requests that are cancelled before they are
//! answered are counted against those that are not. The limits are far above what any client does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// Bytes that may come for no reason: more than the windows of HTTP/2 let a peer send before it is answered.
const BYTES: f64 = 2.0 * 1024.0 * 1024.0;
/// As many more each second.
const BYTES_PER_SECOND: f64 = 8.0 * 1024.0;
/// The head of a request.
const REQUEST: u64 = 32 * 1024;
/// What is sent back for a frame: that its bytes were taken.
const FRAME: u64 = 64;
/// Requests that may be cancelled beyond those that are answered.
const CANCELLED: f64 = 500.0;
/// As many more each second.
const CANCELLED_PER_SECOND: f64 = 20.0;

#[derive(Debug)]
pub(super) struct Floods {
    bytes: Allowance,
    cancelled: Allowance,
    is_over: AtomicBool,
}

impl Default for Floods {
    fn default() -> Self {
        Self {
            bytes: Allowance::new(BYTES, BYTES_PER_SECOND),
            cancelled: Allowance::new(CANCELLED, CANCELLED_PER_SECOND),
            is_over: AtomicBool::new(false),
        }
    }
}

impl Floods {
    pub(super) fn asked(&self) {
        self.bytes.earn(REQUEST);
    }

    pub(super) fn answered(&self) {
        self.cancelled.earn(1);
    }

    /// A request was given up before it was answered; `true` when that is one too many for the first time.
    #[must_use]
    pub(super) fn cancelled(&self) -> bool {
        self.spend(&self.cancelled, 1)
    }

    /// So much of a request's body was taken.
    pub(super) fn took(&self, bytes: usize) {
        self.bytes.earn(bytes as u64 + FRAME);
    }

    /// So much was sent.
    pub(super) fn said(&self, bytes: usize) {
        self.bytes.earn(FRAME + bytes as u64 / FRAME);
    }

    /// So much came; `true` when that is too much for the first time.
    #[must_use]
    pub(super) fn heard(&self, bytes: usize) -> bool {
        self.spend(&self.bytes, bytes)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    fn spend(&self, allowance: &Allowance, amount: usize) -> bool {
        !allowance.spend(amount as f64) && !self.is_over.swap(true, Relaxed)
    }
}

/// So much at once, so much each second, and what was earned.
#[derive(Debug)]
struct Allowance {
    most: f64,
    per_second: f64,
    left: Mutex<(f64, Instant)>,
    earned: AtomicU64,
}

impl Allowance {
    fn new(most: f64, per_second: f64) -> Self {
        Self {
            most,
            per_second,
            left: Mutex::new((most, Instant::now())),
            earned: AtomicU64::default(),
        }
    }

    fn earn(&self, amount: u64) {
        self.earned.fetch_add(amount, Relaxed);
    }

    /// Whether there was so much left.
    fn spend(&self, amount: f64) -> bool {
        let mut left = self.left.lock().expect("no holder of this lock panics");
        let (had, at) = *left;
        let now = Instant::now();
        let earned = self.earned.swap(0, Relaxed) as f64;
        let grown = (now - at).as_secs_f64().mul_add(self.per_second, earned);
        let has = (had + grown).min(self.most) - amount;
        *left = (has, now);
        has >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const READ: usize = 16 * 1024;

    #[tokio::test(start_paused = true)]
    async fn bytes_for_no_reason_end_a_connection_and_bytes_that_were_asked_for_do_not() {
        let floods = Floods::default();
        for _ in 0..10_000 {
            floods.took(READ);
            assert!(!floods.heard(READ));
        }
        let told = (0..1000).filter(|_| floods.heard(READ)).count();
        assert_eq!((told, floods.is_over()), (1, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_many_small_frames_may_say_that_it_took_each() {
        let floods = Floods::default();
        for _ in 0..1_000_000 {
            floods.said(100);
            assert!(!floods.heard(26));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_a_second_is_no_flood_in_years() {
        let floods = Floods::default();
        for _ in 0..100_000 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(!floods.heard(17));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_may_be_cancelled_beside_those_that_are_answered() {
        let floods = Floods::default();
        for _ in 0..100_000 {
            floods.answered();
            assert!(!floods.cancelled());
        }
        let told = (0..600).filter(|_| floods.cancelled()).count();
        assert_eq!((told, floods.is_over()), (1, true));
    }
}
