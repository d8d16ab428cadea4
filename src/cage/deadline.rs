//! The end of code that does not end, or takes all memory.
//!
//! A timer of PostgreSQL's ticks while a cage is open. From the tick on that finds a limit passed, a cancel is asked
//! for, which the next CHECK_FOR_INTERRUPTS turns into an ERROR. Code that catches it is cancelled again at its next
//! step: the rollback of its block asks anew, so it gets out of one block and no further. Code that returns in spite of
//! all has failed too, see [`Deadline::end`].
//!
//! The time that counts is that in which the process ran or slept. Time in which it waited for a processor, on a machine
//! that has too much to do, is not the code's.
//!
//! A session's own cancel, which comes by SIGINT, is told apart and passed on. In a worker there is none.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64};
use std::time::Duration;

use pgrx::pg_sys;

use crate::compat;
use crate::pg::process;
use crate::settings;

/// How often the limits are looked at.
const TICK: Duration = Duration::from_millis(20);
/// Any id from USER_TIMEOUT on asks for a free one; this is the last one of every version.
const ANY_USER_TIMEOUT: c_int = 15;

// utils/timeout.h is not among the bindings.
unsafe extern "C-unwind" {
    fn RegisterTimeout(id: c_int, handler: unsafe extern "C-unwind" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, delay_ms: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn SetLatch(latch: *mut pg_sys::Latch);
}

// What the signal handlers share with the process's only thread.
static TIMEOUT: AtomicU64 = AtomicU64::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);
/// How long the process had waited for a processor at the first tick; negative before it.
static FIRST_WAITED: AtomicI64 = AtomicI64::new(-1);
static LONGEST: AtomicU64 = AtomicU64::new(0);
static MOST_PAGES: AtomicI64 = AtomicI64::new(0);
/// Pages at the first tick; negative before it.
static FIRST_PAGES: AtomicI64 = AtomicI64::new(-1);
/// A [`Passed`].
static PASSED: AtomicU8 = AtomicU8::new(0);
/// The session's own cancel came while a cage was open.
static CANCELLED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The timeout's id in this process, once it is registered, with the callbacks.
    static REGISTERED: Cell<Option<c_int>> = const { Cell::new(None) };
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Passed {
    Nothing = 0,
    Time = 1,
    Memory = 2,
}

/// The limits are watched while this lives; one at a time.
#[derive(Debug)]
pub(super) struct Deadline(c_int);

impl Deadline {
    pub(super) fn start(longest: Duration) -> Self {
        let id = REGISTERED.get().unwrap_or_else(register);
        STARTED.store(monotonic(), Relaxed);
        LONGEST.store(nanoseconds(longest), Relaxed);
        // SAFETY: a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
        MOST_PAGES.store((settings::expression_memory() / page) as i64, Relaxed);
        FIRST_PAGES.store(-1, Relaxed);
        FIRST_WAITED.store(-1, Relaxed);
        PASSED.store(Passed::Nothing as u8, Relaxed);
        CANCELLED.store(false, Relaxed);
        // SAFETY: registered in this process; raises only for an id that is not.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                enable_timeout_after(id, longest.min(TICK).as_millis().max(1) as c_int);
            });
        }
        Self(id)
    }

    /// Ends the watch; which limit had passed. A cancel that was asked for and that nobody noticed is withdrawn.
    ///
    /// Raises the session's own cancel, if one came.
    pub(super) fn end(self) -> Passed {
        let id = self.0;
        drop(self);
        let passed = match PASSED.swap(Passed::Nothing as u8, Relaxed) {
            0 => Passed::Nothing,
            1 => Passed::Time,
            _ => Passed::Memory,
        };
        debug_assert!(REGISTERED.get() == Some(id));
        // SAFETY: flags that are only written on this thread and in its signal handlers.
        unsafe {
            if passed != Passed::Nothing {
                pg_sys::QueryCancelPending = 0;
            }
            if CANCELLED.swap(false, Relaxed) {
                pg_sys::QueryCancelPending = 1;
                pg_sys::InterruptPending = 1;
            }
        }
        pgrx::check_for_interrupts!();
        passed
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // SAFETY: registered in this process; does nothing when it is not running.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| disable_timeout(self.0, false)) }
    }
}

fn register() -> c_int {
    // SAFETY: no code of ours is unwound over: it raises only when all ids are taken, through the guard. The callback
    // is static.
    let id = unsafe {
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
        pg_sys::ffi::pg_guard_ffi_boundary(|| RegisterTimeout(ANY_USER_TIMEOUT, tick))
    };
    TIMEOUT.store(id as u64, Relaxed);
    // A worker's own handler lets no cancel in.
    if !process::is_for_life() {
        compat::on_signal(libc::SIGINT, on_cancel);
    }
    REGISTERED.set(Some(id));
    id
}

/// Runs in the handler of SIGALRM. It makes system calls that a handler may make, sets flags and sets the timer
/// again; none of this raises, so it needs no guard (which may not run in a signal handler).
unsafe extern "C-unwind" fn tick() {
    let left = LONGEST.load(Relaxed).saturating_sub(taken());
    if PASSED.load(Relaxed) == Passed::Nothing as u8 {
        let passed = if left == 0 {
            Passed::Time
        } else if takes_too_much() {
            Passed::Memory
        } else {
            Passed::Nothing
        };
        PASSED.store(passed as u8, Relaxed);
    }
    if PASSED.load(Relaxed) != Passed::Nothing as u8 {
        ask_for_cancel();
    }
    let next = if left == 0 { TICK } else { TICK.min(Duration::from_nanos(left)) };
    // SAFETY: the id is registered; PostgreSQL's handlers may set timers.
    unsafe {
        enable_timeout_after(TIMEOUT.load(Relaxed) as c_int, next.as_millis().max(1) as c_int);
    };
}

/// A block that caught the ERROR of a cancel was rolled back: it is to get no further.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    let is_abort = event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB;
    if is_abort && super::is_open() && PASSED.load(Relaxed) != Passed::Nothing as u8 {
        ask_for_cancel();
    }
}

/// The session's own cancel: noted, then handled as PostgreSQL does.
unsafe extern "C-unwind" fn on_cancel(signal: c_int) {
    unsafe extern "C-unwind" {
        // PostgreSQL's handler; pgrx's wrapper of it is no C function pointer.
        fn StatementCancelHandler(signal: c_int);
    }
    CANCELLED.store(true, Relaxed);
    // SAFETY: the handler that was there before ours.
    unsafe { StatementCancelHandler(signal) }
}

fn ask_for_cancel() {
    // SAFETY: flags that signal handlers may set, and a call that they may make.
    unsafe {
        pg_sys::QueryCancelPending = 1;
        pg_sys::InterruptPending = 1;
        SetLatch(pg_sys::MyLatch);
    }
}

/// Whether the process has grown by more than is allowed since the first tick. The memory of the process, not a
/// counter of PostgreSQL's: a signal handler may read a file, and may not walk through memory contexts.
fn takes_too_much() -> bool {
    let Some(pages) = private_pages() else { return false };
    let first = FIRST_PAGES.load(Relaxed);
    if first < 0 {
        FIRST_PAGES.store(pages, Relaxed);
        return false;
    }
    pages - first > MOST_PAGES.load(Relaxed)
}

/// Nanoseconds since the start, without those in which the process waited for a processor.
fn taken() -> u64 {
    let elapsed = monotonic().saturating_sub(STARTED.load(Relaxed));
    // Where the kernel does not tell, all of it counts.
    let [_, waited, _] = numbers(c"/proc/self/schedstat").unwrap_or_default();
    let first = FIRST_WAITED.load(Relaxed);
    if first < 0 {
        FIRST_WAITED.store(waited, Relaxed);
        return elapsed.min(nanoseconds(TICK));
    }
    elapsed.saturating_sub(u64::try_from(waited - first).unwrap_or(0))
}

/// Pages in memory that are not shared.
fn private_pages() -> Option<i64> {
    let [_, resident, shared] = numbers(c"/proc/self/statm")?;
    Some(resident - shared)
}

/// The first three numbers of a file; no allocation.
fn numbers(path: &CStr) -> Option<[i64; 3]> {
    let mut text = [0_u8; 128];
    // SAFETY: open, read and close may be called in a signal handler; the buffer is as long as is said.
    let length = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        usize::try_from(length).ok()?
    };
    let mut numbers = text[..length].split(|byte| *byte == b' ').map(number);
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

fn number(digits: &[u8]) -> i64 {
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time; may be called in a signal handler.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
