//! The project's own JSON: what a reader gets who has no driver.
//!
//! - [`mod@event`]: events, statuses, errors and pages; used by the names below
//! - [`mod@error`]: what a reason is called

pub mod error;
mod event;

pub use crate::plain::Numbers;
pub use event::{
    Options, PageWriter, coded_error, data_json, diff_json, error, event, key_json, page,
    prev_json, snapshot_complete, status,
};
