//! A reader that is given the rows of a set before what happens to them.
//!
//! It goes on in the log from a place that was taken before any row was read. So it has seen more than
//! that place says, and whoever lacks some of what it saw, after a failover, must not let it go on.

use serde::{Deserialize, Serialize};

use crate::source::Start;

/// What a reader's position does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The rows behind this key are still to be read, all of them behind an empty one; `None` once
    /// they were.
    pub behind: Option<Vec<String>>,
    /// The transactions that the rows read last were of: all up to `closed`, and those in `seen`.
    pub saw: Start,
}

impl Snapshot {
    /// Behind everything that was seen: a position there says it all.
    pub fn end(&self) -> i64 {
        self.saw.seen.last().copied().unwrap_or(0).max(self.saw.closed)
    }
}
