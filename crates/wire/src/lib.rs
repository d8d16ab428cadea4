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
//! - [`plain`]: values in plain JSON, for the wires that have no words of their own
//! - `tags`: what both of Fauna's wires write alike
//! - `tokens`: the pieces of a JSON text, for wires that rewrite it
//! - [`directus`], [`loopback`], [`native`], [`v10`], [`v4`]: a folder for each wire, which uses nothing of
//!   another's
#![forbid(unsafe_code)]

pub mod directus;
pub mod json;
pub mod loopback;
pub mod native;
pub mod number;
pub mod plain;
pub mod shown;
mod tags;
mod tokens;
pub mod v10;
pub mod v4;
