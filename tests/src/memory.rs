//! The most memory that processes held while something was done.
//!
//! A thread of the test looks at `/proc` again and again; what is held for less than its pause may
//! be missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::consume::latency::pause_until;
use crate::{Pid, SetAtEnd};

const PAUSE: Duration = Duration::from_millis(5);

/// What each process held of its own at most while `work` ran, in bytes above what it held before,
/// and what `work` gave.
///
/// # Panics
/// When one of them is not there before `work`.
pub fn peaks<const N: usize, R>(processes: [Pid; N], work: impl FnOnce() -> R) -> ([u64; N], R) {
    let held = || processes.map(|process| process.own_memory().unwrap_or(0));
    let before = held();
    assert!(!before.contains(&0), "one of {processes:?} is gone");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = before;
            while !done.load(Ordering::Relaxed) {
                for (most, now) in most.iter_mut().zip(held()) {
                    *most = now.max(*most);
                }
                pause_until(Instant::now() + PAUSE);
            }
            most
        });
        let ends = SetAtEnd(&done);
        let given = work();
        drop(ends);
        let most = watcher.join().expect("watching does not panic");
        (std::array::from_fn(|at| most[at] - before[at]), given)
    })
}
