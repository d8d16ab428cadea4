//! The words of `event_source`, as types.
//!
//! This crate guarantees that a change, a cursor or a token means the same thing in the writer's
//! backend, in the worker, in the server and in a test. It runs in all of those processes and so
//! must never touch PostgreSQL, a socket, a file or a clock.
//!
//! # Layout, in the order in which a change meets it
//!
//! - [`value`]: one column's value, independent of the session that wrote it
//! - [`time`]: the text of dates and instants, on every wire the same
//! - [`image`]: a whole row at one moment, and the key in it
//! - [`change`]: what one command did to one row
//! - [`payload`]: the changes of a transaction as the log stores them
//! - [`look`]: a stored change looked into without being decoded
//! - [`place`]: where a change stands in a transaction too large to be sorted in memory
//! - [`encoding`]: the bytes of values and numbers in it
//! - [`stamp`]: the position of a transaction in the one order, and what else its log row says
//! - [`net`]: what a transaction did to each row, the only thing readers ever see
//! - [`position`]: where a reader is, and the cursor that says so to clients
//! - [`fingerprint`]: whether two logs agree on everything up to a position
//! - [`source`]: what a token defines
//! - [`redaction`]: what is to be erased from the log
//! - [`ring`]: where the log is written next, and which part of it is let go
//! - [`query`]: what a query asks for
//! - [`bounds`]: how large it may be
//! - [`token`]: the signed text form of a source
//! - [`discreet`]: tokens and secrets taken out of a text
//! - [`cost`]: what reading took
//! - [`event`]: a net change seen through a source, and why a reader was refused
//! - [`events`]: many of them, on their way to a renderer
//! - [`named`]: the shapes that their payloads name
#![forbid(unsafe_code)]

pub mod bounds;
pub mod change;
pub mod cost;
pub mod discreet;
pub mod encoding;
pub mod event;
pub mod events;
pub mod fingerprint;
pub mod image;
pub mod look;
pub mod named;
pub mod net;
pub mod payload;
pub mod place;
pub mod position;
pub mod query;
pub mod redaction;
pub mod ring;
pub mod snapshot;
pub mod source;
pub mod stamp;
pub mod time;
pub mod token;
pub mod value;
