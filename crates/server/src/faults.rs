//! A panic is the fault of one request. It is caught where that begins and said in the log, and nothing else ends by it.
//!
//! Handlers answer 500 ([`handled`]), a stream whose events cannot be written ends with an error, a message of the worker
//! that cannot be handled fails the request that it answers ([`caught`]), and no lock stays shut ([`lock`]). Code under a
//! lock leaves what it protects usable at each step: what is not there any more is passed over.
//!
//! In builds with assertions a test can make the next one who passes a [`Point`] panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;

use crate::log;

/// Runs something that may panic; `None` when it did.
pub(crate) fn caught<T>(what: &str, body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| say(what, &*panic)).ok()
}

/// The same of a future.
pub(crate) async fn handled<T>(what: &str, work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| say(what, &*panic)).ok()
}

/// A lock, also after somebody panicked who held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(what: &str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    log::line(format_args!("{what} failed by a fault of the server: {}", text.unwrap_or("?")));
}

/// Where a test can have a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Point {
    /// A connection is accepted.
    Accept,
    /// Its task begins.
    Connection,
    /// A request is handled.
    Handler,
    /// The body of a stream is asked for what comes next.
    Body,
    /// A WebSocket begins.
    Socket,
    /// A message of the worker is handled, under the hub's lock.
    Message,
    /// An event is written, under the hub's lock.
    Event,
    /// Messages to the worker are written.
    Door,
    /// What time alone brings about.
    Tick,
}

#[cfg(debug_assertions)]
static ARMED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// The next one who passes there panics, once.
#[cfg(debug_assertions)]
pub fn arm(place: Point) {
    ARMED.fetch_or(1 << place as u32, std::sync::atomic::Ordering::SeqCst);
}

/// Whether nobody has passed there since.
#[cfg(debug_assertions)]
pub fn is_armed(place: Point) -> bool {
    ARMED.load(std::sync::atomic::Ordering::SeqCst) & (1 << place as u32) != 0
}

/// Somebody passes there.
#[inline]
pub(crate) fn pass(place: Point) {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::Ordering::SeqCst;
        let bit = 1 << place as u32;
        if ARMED.load(SeqCst) & bit != 0 && ARMED.fetch_and(!bit, SeqCst) & bit != 0 {
            panic!("a test has armed {place:?}");
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}
