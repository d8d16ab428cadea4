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
    let before = held(processes);
    assert!(!before.contains(&0), "one of {processes:?} is gone");
    let (most, given) = most(processes, work);
    (std::array::from_fn(|at| most[at] - before[at]), given)
}

/// What each process held of its own at most while `work` ran, in bytes, and what `work` gave.
pub fn most<const N: usize, R>(processes: [Pid; N], work: impl FnOnce() -> R) -> ([u64; N], R) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = held(processes);
            while !done.load(Ordering::Relaxed) {
                for (most, now) in most.iter_mut().zip(held(processes)) {
                    *most = now.max(*most);
                }
                pause_until(Instant::now() + PAUSE);
            }
            most
        });
        let ends = SetAtEnd(&done);
        let given = work();
        drop(ends);
        (watcher.join().expect("watching does not panic"), given)
    })
}

fn held<const N: usize>(processes: [Pid; N]) -> [u64; N] {
    processes.map(|process| process.own_memory().unwrap_or(0))
}
