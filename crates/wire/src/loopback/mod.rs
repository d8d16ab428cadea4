//! LoopBack 3's change streams: changes as server-sent events or as JSON lines, and its errors.
//!
//! Guarantees what its clients break without: a change names its row in `target`, with the same JSON type
//! as in `data`, and is one line. As pure as the rest of this crate.
//!
//! - [`change`]: one change, and what frames it
//! - [`value`]: columns as LoopBack's JSON
//! - [`error`]: statuses, codes and texts of errors

pub mod change;
pub mod error;
pub mod value;
