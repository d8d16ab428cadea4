//! The works, a file each.

pub mod bulk;
pub mod bytes;
pub mod catch_up;
pub mod fanout;
pub mod fanout_latency;
pub mod first_event;
pub mod growth;
pub mod idle_memory;
pub mod latency;
pub mod opening;
pub mod shared_frames;
pub mod sources;
pub mod sparse;
pub mod writer_cpu;
pub mod writers;
