//! Which sources see a change, and as what: PostgreSQL's own expressions, index definitions and
//! operators decide, never a second implementation of them.
//!
//! It runs on the only thread of a backend (feeds) or of the worker (streams), inside a
//! transaction. It never writes, never waits for a lock of a user's and never raises an ERROR for
//! what a source's definition or a row does: those come back as errors of that source alone.
//!
//! # Layout, from the outside in
//!
//! - [`evaluator`]: one source; [`matcher`]: all sources of the worker, across transactions
//! - [`collection`]: the sources of one table; [`look`]: the one way in which they see a change
//! - [`sets`]: the hash maps that find the sources of an index's terms; [`rule`]: the event rule
//! - [`index`], [`filter`]: an index and a filter as tests of a row
//! - [`table`], [`row`]: the table's row type, and an image as a row of it
//! - [`datatype`], [`function`], [`owned`]: values as PostgreSQL's datums
//! - [`execution`]: what evaluation needs within one transaction
//! - [`guard`]: how much of it one cage holds (`src/cage`)
//! - [`invalidation`]: which tables DDL touched

mod collection;
mod datatype;
mod evaluator;
mod execution;
mod filter;
mod function;
mod guard;
mod index;
mod invalidation;
mod look;
mod matcher;
mod owned;
mod row;
mod rule;
mod sets;
mod table;
#[cfg(any(test, feature = "pg_test"))]
#[path = "../../pgrx-tests/matching.rs"]
mod tests;

pub use evaluator::{Evaluator, Known};
pub use matcher::{Matcher, Matches};
