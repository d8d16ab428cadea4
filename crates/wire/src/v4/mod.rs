//! Fauna's v4 wire, as the `faunadb` drivers for JavaScript and Python read it.
//!
//! Every event is one line of ASCII that [`frame`] makes; a stream writes each line in a frame of its
//! own. The drivers' parsers demand no less: see there.
//!
//! - [`event`]: what happened to a document, or to a set
//! - [`frame`]: a text as a line that may be cut anywhere
//! - [`value`], [`json`], [`diff`]: typed values; what of a document changed
//! - [`answer`]: what a query is answered with
//! - [`error`]: status, code and description of whatever goes wrong

pub mod answer;
mod diff;
pub mod error;
pub mod event;
pub mod frame;
mod json;
pub mod value;
