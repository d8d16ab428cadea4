//! The pace of looks at a log that is written to at a steady rate, and in bursts.

use std::time::{Duration, Instant};

use event_source_pace::{LONGEST, Pace, UNHURRIED};
use proptest::prelude::*;

/// What a look takes when it does not wait.
const LOOK: Duration = Duration::from_micros(150);

/// Looks for so long at what is written at so many a millisecond, beginning behind a look that found
/// `at_first`; gives how many looks that took, and the longest wait, both of the second half.
fn looks(rate: f64, at_first: u32, half: Duration) -> (u32, Duration) {
    let start = Instant::now();
    let mut pace = Pace::new(start);
    let (mut now, mut written, mut looks, mut longest) = (start, 0.0, 0, Duration::ZERO);
    let mut wait = pace.behind(at_first, now);
    while now - start < 2 * half {
        // As the worker does: whoever need not wait is woken by the next commit.
        let until_next = Duration::from_secs_f64((1.0 - written % 1.0) / rate / 1e3);
        let passed = LOOK + if wait.is_zero() { until_next } else { wait };
        now += passed;
        let before = f64::floor(written);
        written += passed.as_secs_f64() * 1e3 * rate;
        wait = pace.behind((written.floor() - before) as u32, now);
        if now - start > half {
            looks += 1;
            longest = longest.max(wait);
        }
    }
    (looks, longest)
}

const HALF: Duration = Duration::from_millis(500);

proptest! {
    #[test]
    fn nobody_waits_at_an_unhurried_rate(rate in 0.01..UNHURRIED, at_first in 0..1_000u32) {
        prop_assert_eq!(looks(rate, at_first, HALF).1, Duration::ZERO);
    }

    #[test]
    fn nobody_waits_longer_than_the_longest(rate in 0.01..100.0, at_first in 0..1_000_000u32) {
        prop_assert!(looks(rate, at_first, HALF).1 <= LONGEST);
    }

    /// Whether the first look found one transaction or a thousand.
    #[test]
    fn a_busy_log_is_looked_at_seldom_however_it_began(rate in 5.6..100.0, at_first in 0..1_000u32) {
        let most = HALF.as_millis() / LONGEST.as_millis() + 2;
        prop_assert!(u128::from(looks(rate, at_first, HALF).0) <= most);
    }
}

#[test]
fn a_burst_by_itself_makes_nobody_wait() {
    let start = Instant::now();
    let mut pace = Pace::new(start);
    assert_eq!(pace.behind(0, start + Duration::from_secs(1)), Duration::ZERO);
    assert_eq!(pace.behind(1, start + Duration::from_millis(1_010)), Duration::ZERO);
    assert_eq!(pace.behind(8, start + Duration::from_millis(1_011)), Duration::ZERO);
}

#[test]
fn when_the_load_is_over_nobody_waits() {
    let start = Instant::now();
    let mut pace = Pace::new(start);
    assert_eq!(pace.behind(1_000, start + LONGEST), LONGEST);
    assert_eq!(pace.behind(0, start + 2 * LONGEST), Duration::ZERO);
}
