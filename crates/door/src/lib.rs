//! The one door between the worker (inside PostgreSQL) and the server (its child process).
//!
//! It guarantees that both sides speak the same version or not at all, and that a message is
//! read whole or not at all. It runs in both processes and does no I/O itself: both sides hand it
//! bytes.
//!
//! - [`message`]: what is said
//! - [`changes`]: the changes of a tail
//! - [`frame`]: how it is cut into bytes
//! - [`pulse`]: whether anybody is there
//! - [`listen`]: where the server is to be found; [`hosts`]: by which names
//! - [`limits`], [`protocols`]: what its clients may take, and what it serves
#![forbid(unsafe_code)]

pub mod changes;
pub mod frame;
pub mod hosts;
pub mod limits;
pub mod listen;
pub mod message;
pub mod protocols;
pub mod pulse;
