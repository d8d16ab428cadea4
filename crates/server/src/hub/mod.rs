//! Who follows what, and what they were sent: the one place that decides what a stream gets.
//!
//! It guarantees that a stream gets every event of its source behind its start once and in order,
//! whether from a tail, from memory or from the log; that a slow reader delays nobody; that equal
//! streams share one rendering. It runs in whichever task calls it, under one mutex that is never
//! held across an await; it must never do I/O.
//!
//! # Layout
//!
//! - [`hub`]: the door's and the routes' way in; the lock
//! - [`state`]: what the lock protects, and how each message of the worker changes it
//! - [`delivery`]: how events reach the streams: live, from memory, from the log
//! - [`sighting`]: which source sees which change of a tail
//! - [`stream`]: one stream: its position, its phase; [`table`]: all of them
//! - [`memory`]: the recent stretch of the log
//! - [`polls`]: pages of feeds that are polled at the end of the log, made of it
//! - [`shapes`]: one copy of each table's shape in it
//! - [`renderer`]: what a protocol is here: bytes for what happens
//! - [`chunks`]: those bytes, cut
//! - [`queue`]: the bounded queue between the hub and a response body
//! - [`asking`]: what the worker is asked, and when
//! - [`turns`]: which streams of a connection the log is read for; [`owners`]: what roles and credentials hold;
//!   [`shed`]: streams that are ended because they hold too much
//! - [`outgoing`]: what waits to be written to the worker
//! - [`recover`]: what a panic leaves behind
//! - [`report`]: what time alone brings about

mod asking;
mod chunks;
mod delivery;
#[expect(clippy::module_inception, reason = "the hub itself, beside its parts")]
mod hub;
mod memory;
mod outgoing;
mod owners;
mod polls;
mod queue;
mod recover;
mod renderer;
mod report;
mod shapes;
mod shed;
mod sighting;
mod state;
mod stream;
mod table;
mod turns;

#[cfg(test)]
mod tests;

pub use hub::{Hub, PageParts, Subscription};
pub use queue::{Broken, Chunk, Next};
pub use renderer::{AtStop, Cut, Format, Pace, Renderer};
pub use state::PagePart;
