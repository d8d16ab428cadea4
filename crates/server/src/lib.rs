//! The server process of `event_source`: HTTP on one side, the worker's door on the other.
//!
//! It guarantees that what reads the network has no SQL, no shared memory and no data files: it
//! can only ask the worker typed questions. It is a child process of the worker and ends with it.
//! It may panic, be killed or run out of memory: no database session notices, clients resume.
//!
//! # Layout, from the process to the wire
//!
//! - [`mod@start`]: the descriptors, the handshake, the runtime
//! - [`mod@serve`]: everything built and run; [`shutdown`]: the planned stop
//! - [`door`]: the messages of the worker
//! - [`hub`]: who follows what, and what they were sent
//! - [`accept`]: connections; [`routes`]: which request goes where
//! - [`native`], [`v10`], [`health`]: the routes, a file for each protocol
//! - [`v10_feed`], [`v10_query`]: pages and queries; [`v10_headers`]: what the drivers' headers ask for
//! - [`credentials`], [`params`], [`request`]: what a request says
//! - [`answer`], [`body`], [`cors`]: what a response says
#![forbid(unsafe_code)]

mod accept;
mod answer;
mod body;
mod clock;
mod cors;
mod credentials;
pub mod door;
mod health;
pub mod hub;
mod log;
mod native;
mod params;
mod request;
mod routes;
pub mod serve;
pub mod shutdown;
mod start;
mod v10;
mod v10_feed;
mod v10_headers;
mod v10_query;

pub use start::start;
