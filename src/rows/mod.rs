//! The rows of a source's set, as they are under the active snapshot.
//!
//! Guarantees the order of the primary key, so that reading can go on behind any row, and work bounded
//! by a thousand rows at a time, whatever the filter lets through; in another order they are read whole, or
//! refused when that is too much. The caller has checked the rights of the source's role. Runs in the worker, in the cage:
//! the statement as the owner of the table, the filter as the source's role.
//!
//! - [`select`]: the SQL of a set; [`filtered`]: where its filter is asked
//! - [`mod@page`]: reading it
//! - [`mod@sorted`]: reading it in another order
//! - [`snapshot`]: its rows as the first events of a reader

mod filtered;
mod page;
mod select;
pub(crate) mod snapshot;
mod sorted;

pub(crate) use page::{LOCK_WAIT, Rows, page};
pub(crate) use sorted::{Sorting, sorted};
