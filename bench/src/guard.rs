//! The guard against growing costs: instructions per event, counted rather than timed.
//!
//! It guarantees that a count depends on the code alone, not on what else the machine does: callgrind
//! counts, no two processes take part, and between two runs of the same build the counts differ by
//! less than one in a hundred. What it cannot see is time spent waiting: for the disk, a lock, a wake-up.
//!
//! - [`callgrind`]: a program run under it, in parts
//! - [`backend`]: capture and reading the log, in a backend on its own
//! - [`plain`]: rendering, and what else is in crates that need no PostgreSQL
//! - [`record`]: the counts that are kept in the repository, and how they are compared

pub mod backend;
pub mod callgrind;
pub mod plain;
pub mod record;

use serde::{Deserialize, Serialize};

/// Instructions for each event of something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    pub name: String,
    /// In whole ones.
    pub instructions: f64,
}

impl Count {
    pub fn new(name: impl Into<String>, instructions: f64) -> Self {
        Self { name: name.into(), instructions: instructions.round() }
    }
}
