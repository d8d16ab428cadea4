//! Followers that rebuild captured tables from events alone, and everything that can be wrong with
//! what they were told.
//!
//! The order test, the nemesis and the crash matrix stand on it. It runs in threads of the test, one
//! a follower, and knows nothing of what is written: a fault is always a contradiction between events
//! and events, or between events and the table. It must never repair: a follower that goes on after
//! a break does so by cursor alone, as every client can.
//!
//! - [`image`]: when two images of a row are the same
//! - [`replica`]: a follower's copy of a table, and the checks of each event
//! - [`source`]: the transports, each of which yields the same events
//! - [`follower`]: one follower from its token to the end of the test
//! - [`quiet`]: the points at which nobody writes, where copies and table have to be equal
//! - [`disorder`]: what was found

pub mod disorder;
pub mod follower;
pub mod image;
pub mod quiet;
pub mod replica;
pub mod source;
#[cfg(test)]
mod tests;

pub use disorder::Disorder;
pub use follower::{Follower, Renewal, Watch};
pub use image::Form;
pub use quiet::{Quiet, Watcher};
pub use replica::{Identity, Replica};
pub use source::Transport;
