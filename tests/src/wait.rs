//! Waiting for a condition, never for a time.
//!
//! The one place of the tests that sleeps. It runs on the test's thread; a condition that does not
//! come true within its time fails the test and says what was waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// In which anything comes that comes at all, ten times over: no test passes or fails by how fast a machine is.
pub const LONG: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(2);

/// Returns how long it took until `condition` held.
///
/// # Panics
/// When it does not hold within `timeout`.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    wait_for(what, timeout, || condition().then_some(()));
    start.elapsed()
}

/// Returns what `attempt` gives as soon as it gives something.
///
/// # Panics
/// When it gives nothing within `timeout`.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(got) = attempt() {
            return got;
        }
        assert!(start.elapsed() < timeout, "waited {timeout:?} in vain for {what}");
        #[expect(clippy::disallowed_methods, reason = "this is the place that may")]
        std::thread::sleep(PAUSE);
    }
}

/// Sets a flag when it is dropped, also by a panic: threads that run until the flag is set end, and a
/// test that fails does so instead of running on.
#[derive(Debug)]
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
