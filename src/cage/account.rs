//! What code of users may cost a worker: the accounts of `event_source.source_time` and `event_source.role_time`.
//!
//! An evaluation for one change takes [`FREE`] at no charge, so that a busy table does not end a cheap filter. A
//! source that has had its share is refused before it runs again (`crates/pace`, `account`).
//!
//! Only in a worker, on its only thread: in a session it is the session's own time. Nothing here calls PostgreSQL.

use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use event_source_pace::account::{Accounts, Empty, Payer as Account, Rates};
use pgrx::pg_sys;

use crate::error::{Error, Kind, Result};
use crate::pg::process;
use crate::settings;

/// What one evaluation for one change may take without being charged.
const FREE: Duration = Duration::from_micros(100);
/// Code gets this long, whatever its role has left: where other sources are dear, a cheap one goes on.
const LEAST: Duration = Duration::from_millis(2);

thread_local! {
    static ACCOUNTS: RefCell<Accounts> = RefCell::default();
    /// How long the process had waited for a processor when the change was begun, or when somebody was charged.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// Where the kernel says so; `None` once it was looked for in vain.
    static SCHEDULED: OnceCell<Option<File>> = const { OnceCell::new() };
}

/// A change is about to be evaluated. Asking the kernel costs more than many an evaluation, so it is asked once for
/// all of them.
pub(crate) fn begin() {
    if process::is_for_life() {
        WAITED.set(waited());
    }
}

/// Whose time it is, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payer {
    account: Account,
    is_statement: bool,
}

impl Payer {
    /// For an evaluation of a source's code for a change; `source` is equal for the code of equal sources.
    pub(crate) fn of(role: pg_sys::Oid, source: u64) -> Self {
        Self { account: Account { role: role.to_u32(), source }, is_statement: false }
    }

    /// For a statement of the role that reads rows, or the opening of a source. Only one that is ended for its time is
    /// charged: others wait for one statement at a time, since requests are served in turn.
    pub(crate) fn of_statement(role: pg_sys::Oid) -> Self {
        Self { account: Account { role: role.to_u32(), source: 0 }, is_statement: true }
    }
}

/// Runs `body` at the payer's expense; it is told how long it may take.
///
/// # Errors
/// Those of `body`; [`Kind::TookTooMuch`] without running it when the payer has had its share.
pub(crate) fn spend<T>(payer: Payer, body: impl FnOnce(Duration) -> Result<T>) -> Result<T> {
    let longest = settings::expression_timeout();
    if !process::is_for_life() {
        return body(longest);
    }
    let rates = Rates { source: settings::source_time(), role: settings::role_time() };
    let left = ACCOUNTS.with_borrow_mut(|a| a.left(payer.account, rates, Instant::now()));
    let left = left.map_err(over)?.map_or(longest, |left| left.max(LEAST).min(longest));
    if payer.is_statement {
        begin();
    }
    let begun = Instant::now();
    let outcome = body(left);
    let is_ended = matches!(&outcome, Err(error) if error.kind == Kind::TookTooMuch);
    let cost = match payer.is_statement {
        true if !is_ended => Duration::ZERO,
        true => took(begun.elapsed(), Duration::ZERO),
        false => took(begun.elapsed(), FREE).saturating_sub(FREE),
    };
    if !cost.is_zero() {
        ACCOUNTS.with_borrow_mut(|a| a.charge(payer.account, rates, cost, Instant::now()));
        begin();
    }
    outcome
}

/// The time that counts: without that in which the worker waited for a processor, which is no source's fault.
fn took(elapsed: Duration, free: Duration) -> Duration {
    if elapsed <= free {
        return elapsed;
    }
    elapsed.saturating_sub(waited().saturating_sub(WAITED.get()))
}

/// How long this process has waited for a processor since it began; zero where the kernel does not tell.
fn waited() -> Duration {
    let mut text = [0; 64];
    let read = SCHEDULED.with(|file| {
        let file = file.get_or_init(|| File::open("/proc/self/schedstat").ok());
        file.as_ref().and_then(|file| file.read_at(&mut text, 0).ok())
    });
    let text = std::str::from_utf8(&text[..read.unwrap_or(0)]).unwrap_or_default();
    let nanoseconds = text.split(' ').nth(1).and_then(|waited| waited.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn over(empty: Empty) -> Error {
    let (whose, setting) = match empty {
        Empty::Source => ("the expressions of the event source", "event_source.source_time"),
        Empty::Role => ("the event sources of the role", "event_source.role_time"),
    };
    Error::new(Kind::TookTooMuch, format!("{whose} take too much time"))
        .hint(format!("use cheaper filters, or ask for {setting} to be raised"))
}
