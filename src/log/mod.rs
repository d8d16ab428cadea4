//! The log: what every transaction did, in a ring of segments.
//!
//! It guarantees that what a transaction captured is in the log exactly when the transaction is
//! committed, that nothing in it is ever updated, and that the cost of reading a page depends on
//! the page. It runs in the writers' backends ([`buffer`], [`append`]) and in whoever reads
//! ([`stamps`], [`transaction`]).
//!
//! - [`buffer`]: what this transaction captured so far, a level for each savepoint
//! - [`level`]: what one of them captured
//! - [`append`]: stamps and changes into a segment
//! - [`table`]: a table of the log, open for inserting; [`form`]: a row for it
//! - [`prepared`]: prepared transactions that have no stamp yet
//! - [`segment`]: the tables of the ring
//! - [`shapes`]: the columns of logged rows, kept once
//! - [`scan`]: one index scan; [`ahead`]: its next rows; [`row`]: one of them
//! - [`stamps`]: the stamps of all segments, merged into the one order
//! - [`fingerprint`]: what a position stands behind, told after a failover
//! - [`floor`]: where the log begins
//! - [`retention`]: which segment is written, and which is let go
//! - [`empty`]: one segment let go
//! - [`erase`]: a row's past erased
//! - [`rewrite`]: new files for segments from which something was erased
//! - [`runs`]: the change rows of a large transaction
//! - [`transaction`]: the net changes of one stamped transaction

mod ahead;
pub mod append;
pub mod buffer;
pub mod empty;
pub mod erase;
pub mod fingerprint;
pub mod floor;
mod form;
mod level;
pub mod prepared;
pub mod retention;
pub mod rewrite;
mod row;
mod runs;
pub mod scan;
pub mod segment;
pub mod shapes;
pub mod stamps;
mod table;
pub mod transaction;

pub use buffer::{heartbeat, image_size};

/// Segments in the ring; `sql/tables.sql` makes the tables.
pub const SEGMENTS: usize = 8;
