//! Fauna's v10 wire with its tagged values.
//!
//! - [`mod@event`]: events, statuses and pages; used by the names below
//! - [`mod@error`]: what a reason is called; [`value`] and `json`: values and documents
//! - [`query`], [`summary`]: answers to queries, and what is wrong with a query

pub mod error;
mod event;
mod json;
pub mod query;
pub mod summary;
pub mod value;

pub use event::{PageWriter, error, error_page, event, http_error, is_shown, page, status};
