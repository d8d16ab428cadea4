//! What `make bench` is made of.
//!
//! It guarantees that everything compared was measured in one run, by turns; that a work whose events
//! were not complete has no result; and that what is written down is all that was measured. It runs
//! as one process, with throw-away clusters and peers as its children, which end with it.
//!
//! - [`work`], [`turns`]: what is measured, and how what is compared takes turns
//! - [`works`]: the works, a file each
//! - [`clusters`], [`slow_disk`]: the clusters that they start, and on what disk
//! - [`peers`]: the ways to hear of what is written, ours among them
//! - [`sessions`], [`follower`]: those who write, and who reads along
//! - [`cpu`]: what processes have run for
//! - [`fanout`], [`readers`]: what the works of fan-out share: subjects, and the client that reads them
//! - [`filled`], [`reader`]: a log that is full, and who reads all of it
//! - [`machine`]: what the run was on
//! - [`guard`]: instruction counts, which `make bench-guard` compares with recorded ones
//! - [`results`], [`report`], [`plot`]: what is written down
#![forbid(unsafe_code)]

pub mod clusters;
mod cpu;
mod fanout;
mod filled;
mod follower;
pub mod guard;
pub mod machine;
mod peers;
mod plot;
mod reader;
mod readers;
pub mod report;
pub mod results;
mod sessions;
mod slow_disk;
mod turns;
pub mod work;
pub mod works;
