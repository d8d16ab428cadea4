//! The server process of `event_source`: HTTP on one side, the worker's door on the other.
//!
//! It guarantees that what reads the network has no SQL, no shared memory and no data files: it
//! can only ask the worker typed questions. It is a child process of the worker and ends with it.
//! It may panic, be killed or run out of memory: no database session notices, clients resume.
//!
//! # Layout, from the process to the wire
//!
//! - [`mod@start`]: the descriptors, the handshake, the runtime; [`sandbox`]: what is given up before anything is read
//! - [`mod@serve`]: everything built and run; [`shutdown`]: the planned stop
//! - [`door`]: the messages of the worker
//! - [`hub`]: who follows what, and what they were sent
//! - [`accept`], [`connection`]: connections and what they may take; [`drive`]: one with all its streams as one task; [`wire`]: what they write, in one
//!   write; [`routes`]: which request goes where
//! - [`directus`], [`loopback`], [`native`], [`v10`], [`v4`]: a folder for each protocol, which uses nothing of
//!   another's
//! - [`gate`], [`peer`], [`places`], [`rates`]: who is let in; [`health`]: for load balancers
//! - [`credentials`], [`request`]: what a request says; [`jwts`]: whether a JWT is worth asking about
//! - [`faults`]: what a panic ends, and what it does not
//! - [`budget`]: what is held in memory, and by whom
//! - [`answer`], [`body`], [`websocket`], [`cors`]: what a response says
#![forbid(unsafe_code)]

mod accept;
mod answer;
pub mod body;
pub mod budget;
mod clock;
mod connection;
mod cors;
mod credentials;
mod directus;
pub mod door;
mod drive;
pub mod faults;
mod gate;
mod health;
pub mod hub;
mod jwts;
mod log;
mod loopback;
mod native;
mod peer;
mod places;
mod rates;
mod request;
pub mod routes;
pub mod sandbox;
pub mod serve;
pub mod shutdown;
mod start;
mod v10;
mod v4;
mod websocket;
mod wire;

pub use start::start;
