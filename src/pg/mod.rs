//! One RAII handle for each PostgreSQL resource that the extension holds.
//!
//! They run in backends and in the worker, on the main thread. Each one gives its resource back
//! when it is dropped, also when a PostgreSQL ERROR unwinds through it. [`unguarded`] holds none, nor does
//! [`server_log`].

pub mod lock_wait;
pub mod memory;
pub mod page;
pub mod pinned;
pub mod process;
pub mod relation;
pub mod role;
pub mod server_log;
pub mod snapshot;
pub mod subtransaction;
pub mod timeline;
pub mod transaction;
pub mod unguarded;
pub mod varlena;
pub mod wait_set;
pub mod wal;
