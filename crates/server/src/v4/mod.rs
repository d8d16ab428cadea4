//! Fauna v4's protocol: `/stream`, `/` for the snapshot of a document, and `/ping`.
//!
//! - [`mod@routes`]: what is answered
//! - [`expression`], [`term`]: what a request says, in FQL's JSON
//! - [`asked`]: the rest of it: fields, headers, the secret
//! - [`snapshot`]: the worker's answer, no older than what the client has seen
//! - [`starts`]: where streams began, for the snapshots of their documents
//! - [`renderer`]: events in the frames that its drivers can read

mod asked;
mod expression;
mod renderer;
mod routes;
mod snapshot;
mod starts;
mod term;

pub(crate) use routes::routes;
