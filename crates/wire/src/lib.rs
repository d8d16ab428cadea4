//! One renderer for each wire protocol: a pure function from the model's words to bytes.
//!
//! It guarantees that the same event is the same bytes whoever renders it: the extension for
//! `event_page` in SQL, the server for a stream or a feed. It runs in backends, in the worker and
//! in the server, and so must never touch PostgreSQL, a socket, a file or a clock.
//!
//! Objects are written by hand into a `String`: rendering is the hot path of a stream.
//!
//! # Layout
//!
//! - [`json`]: strings, and JSON texts put inline
//! - [`number`]: which number a text of digits is
//! - [`shown`]: an event as a renderer sees it
//! - [`native`], [`native_value`]: the project's own JSON
//! - [`v10`], [`v10_value`], [`v10_error`]: Fauna's v10 wire with its tagged values
//! - [`v10_query`], [`v10_summary`]: answers to queries, and what is wrong with a query
#![forbid(unsafe_code)]

pub mod json;
pub mod native;
mod native_error;
pub mod native_value;
pub mod number;
pub mod shown;
pub mod v10;
pub mod v10_error;
mod v10_json;
pub mod v10_query;
pub mod v10_summary;
pub mod v10_value;

pub use native_error::{code as native_code, status as native_status};
