//! When a token or a secret ends, from an interval.
//!
//! Runs in backends and in the worker.

use event_source_model::time::EPOCH_MICROS;
use pgrx::datum::Interval;
use pgrx::{IntoDatum as _, direct_function_call, pg_sys};

use crate::error::{Error, Kind, Result};
use crate::pg::unguarded;

/// The end of what begins now, in microseconds since 1970; `None` for `'0'`: never.
///
/// # Errors
/// An interval into the past.
pub(super) fn end(lifetime: Interval) -> Result<Option<i64>> {
    if lifetime.months() == 0 && lifetime.days() == 0 && lifetime.micros() == 0 {
        return Ok(None);
    }
    // Months and days are calendar ones, as in now() + interval.
    let now = unguarded::now();
    // SAFETY: timestamptz_pl_interval takes these two; too far is its own ERROR.
    let end = unsafe {
        let end = direct_function_call::<i64>(
            pg_sys::timestamptz_pl_interval,
            &[now.into_datum(), lifetime.into_datum()],
        );
        end.filter(|&end| end > now)
    };
    match end {
        Some(i64::MAX) => Ok(None),
        Some(end) => Ok(Some(end.saturating_add(EPOCH_MICROS))),
        None => Err(Error::new(Kind::InvalidParameter, "expires_in must not be negative")
            .hint("'0' means never")),
    }
}
