//! A committing backend wakes a waiting worker.
//!
//! Called in the COMMIT and ABORT callbacks: only atomics and SetLatch here. Wakes are coalesced:
//! the first committer after the worker began to wait sets the latch, the others see that it no
//! longer waits.

use std::sync::atomic::Ordering::SeqCst;

use pgrx::pg_sys;

use super::shared::Shared;

/// The worker waits for nothing; it looks of its own accord.
pub const AWAKE: u32 = 0;
/// The worker waits for a commit in its database.
pub const FOR_COMMIT: u32 = 1;
/// The worker knows of a commit that the closed timestamp does not cover yet, and waits for whoever
/// holds it to leave: by commit or by abort, and in any database, since the clock is everybody's.
/// Without it such a commit would wait for the worker's next look of its own.
pub const FOR_ANYBODY: u32 = 2;

/// Wakes the worker of this database if it waits for commits, and all that wait for anybody.
pub fn wake(shared: &Shared, committed: bool) {
    // SAFETY: set when the backend connected.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    for worker in shared.workers() {
        let concerned = match worker.waiting.load(SeqCst) {
            FOR_COMMIT => committed && worker.database.load(SeqCst) == database,
            FOR_ANYBODY => true,
            _ => false,
        };
        if concerned && worker.waiting.swap(AWAKE, SeqCst) != AWAKE {
            set_latch(worker.proc_number.load(SeqCst));
        }
    }
}

/// Sets the latch of a process by its number; below 0 there is none yet. A latch set too often, or
/// that of a successor, costs a wake-up for nothing and no more.
pub fn set_latch(proc_number: i32) {
    if proc_number < 0 {
        return;
    }
    // SAFETY: the number is one that a process published of itself, so it is inside the array; the
    // array and the latches in it live as long as shared memory.
    unsafe {
        let process = (*pg_sys::ProcGlobal).allProcs.add(proc_number as usize);
        pg_sys::SetLatch(&raw mut (*process).procLatch);
    }
}
