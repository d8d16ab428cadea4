//! The measuring client: thousands of streams, read by one thread as cheaply as it can be done.
//!
//! It is the same for every subject. It guarantees that each stream got every number once and in order, and
//! panics otherwise; it does not parse more than that needs. It runs in the harness' process, never in a
//! subject's, and its windows are as large as HTTP/2 allows: nobody waits for it.
//!
//! - [`connection`]: one connection, of HTTP/1.1 or HTTP/2
//! - [`numbers`]: the numbers of one stream, as they come

mod connection;
mod numbers;
#[expect(clippy::module_inception, reason = "the readers themselves, beside their parts")]
mod readers;

pub use connection::Version;
pub use readers::{Asked, Readers};
