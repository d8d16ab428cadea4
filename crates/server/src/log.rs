//! Lines for PostgreSQL's log, by way of standard error. Never a credential in them.

use std::fmt::Arguments;
use std::io::Write as _;

/// Writes one line. When standard error is gone there is nowhere left to say so.
pub(crate) fn line(text: Arguments<'_>) {
    let line = format!("event_source server: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
