//! FQL v10, as far as it makes event sources and reads what they will tell.
//!
//! This crate guarantees that a query is either understood whole or refused with the place that is
//! not, and that nothing of its text goes on but names and constants, each in a field of its own: what
//! it makes is an [`Ask`](event_source_model::query::Ask), and SQL is written from that, elsewhere, with
//! quoted names and parameters. It runs in the server process, on bytes of strangers: it never
//! panics, never recurses deeper than [`DEEPEST`](ast::DEEPEST), and touches neither a socket nor
//! PostgreSQL.
//!
//! # Layout, in the order in which a query meets it
//!
//! - [`template`]: a driver's request body, as text with places for values
//! - [`tagged`]: the values in those places
//! - [`token`]: names, numbers, strings and white space
//! - [`parse`]: the grammar
//! - [`ast`]: what was parsed, and how it is written down again
//! - [`check`]: what it means, or why that cannot be
#![forbid(unsafe_code)]

pub mod ast;
pub mod check;
pub mod parse;
pub mod tagged;
pub mod template;
mod token;
