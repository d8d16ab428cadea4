//! What code of users may cost a worker: the accounts of `event_source.source_time` and `event_source.role_time`.
//!
//! An evaluation for one change takes [`FREE`] at no charge, so that a busy table does not end a cheap filter. A
//! source that has had its share is refused before it runs again (`crates/pace`, `account`).
//!
//! Only in a worker, on its only thread: in a session it is the session's own time. Nothing here calls PostgreSQL.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use event_source_pace::account::{Accounts, Empty, Payer as Account, Rates};
use pgrx::pg_sys;

use crate::error::{Error, Kind, Result};
use crate::pg::process;
use crate::settings;

/// What one evaluation for one change may take without being charged.
const FREE: Duration = Duration::from_micros(100);
/// What a statement that reads rows, or the opening of a source, may take.
const FREE_STATEMENT: Duration = Duration::from_millis(20);
/// Code gets this long, whatever its role has left: where other sources are dear, a cheap one goes on.
const LEAST: Duration = Duration::from_millis(2);

thread_local! {
    static ACCOUNTS: RefCell<Accounts> = RefCell::default();
    /// What the thread had used when the change was begun, or when somebody was charged.
    static USED: Cell<Used> = const { Cell::new(Used { time: Duration::ZERO, waits: 0 }) };
}

/// A change is about to be evaluated. Asking the system costs more than many an evaluation, so it is asked once for
/// all of them.
pub(crate) fn begin() {
    if process::is_for_life() {
        USED.set(Used::so_far());
    }
}

/// Whose time it is, and how much of it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payer {
    account: Account,
    free: Duration,
}

impl Payer {
    /// For an evaluation of a source's code for a change; `source` is equal for the code of equal sources.
    pub(crate) fn of(role: pg_sys::Oid, source: u64) -> Self {
        Self { account: Account { role: role.to_u32(), source }, free: FREE }
    }

    /// For a statement of the role that reads rows, or the opening of a source.
    pub(crate) fn of_statement(role: pg_sys::Oid) -> Self {
        Self { account: Account { role: role.to_u32(), source: 0 }, free: FREE_STATEMENT }
    }
}

/// Runs `body` at the payer's expense; it is told how long it may take.
///
/// # Errors
/// Those of `body`; [`Kind::LimitExceeded`] without running it when the payer has had its share.
pub(crate) fn spend<T>(payer: Payer, body: impl FnOnce(Duration) -> Result<T>) -> Result<T> {
    let longest = settings::expression_timeout();
    if !process::is_for_life() {
        return body(longest);
    }
    let rates = Rates { source: settings::source_time(), role: settings::role_time() };
    let left = ACCOUNTS.with_borrow_mut(|a| a.left(payer.account, rates, Instant::now()));
    let left = left.map_err(over)?.map_or(longest, |left| left.max(LEAST).min(longest));
    if payer.free == FREE_STATEMENT {
        begin();
    }
    let begun = Instant::now();
    let outcome = body(left);
    let cost = took(begun.elapsed(), payer.free).saturating_sub(payer.free);
    if !cost.is_zero() {
        ACCOUNTS.with_borrow_mut(|a| a.charge(payer.account, rates, cost, Instant::now()));
        begin();
    }
    outcome
}

/// The time that counts: the processor's, unless the code itself waited for something. That the worker had to wait for
/// its processor is no source's fault.
fn took(elapsed: Duration, free: Duration) -> Duration {
    if elapsed <= free {
        return elapsed;
    }
    let (before, used) = (USED.get(), Used::so_far());
    if used.waits > before.waits {
        return elapsed;
    }
    used.time.saturating_sub(before.time).min(elapsed)
}

fn over(empty: Empty) -> Error {
    let (whose, setting) = match empty {
        Empty::Source => ("the expressions of the event source", "event_source.source_time"),
        Empty::Role => ("the event sources of the role", "event_source.role_time"),
    };
    Error::new(Kind::LimitExceeded, format!("{whose} take too much time"))
        .hint(format!("use cheaper filters, or ask for {setting} to be raised"))
}

/// What the thread has used of its processor, and how often it gave it up.
#[derive(Clone, Copy)]
struct Used {
    time: Duration,
    waits: i64,
}

impl Used {
    fn so_far() -> Self {
        // SAFETY: all zero is a valid record, which the call fills for the calling thread.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
            usage
        };
        let time = |at: libc::timeval| {
            Duration::from_secs(at.tv_sec as u64) + Duration::from_micros(at.tv_usec as u64)
        };
        Self { time: time(usage.ru_utime) + time(usage.ru_stime), waits: usage.ru_nvcsw }
    }
}
