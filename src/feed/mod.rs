//! Reading events: the one engine under feeds in SQL, feeds over HTTP and the catch-up of streams.
//!
//! It guarantees that every reader of a source sees the same events in the same order, that the
//! work of one page is bounded, and that a page's position moves on even when nothing in it was
//! wanted. It runs in any backend and in the worker, writes nothing and needs no worker.
//!
//! - [`request`]: from a token and where to start to a source and a position
//! - [`read`]: the events of a source behind a position
//! - [`functions`]: `event_feed` and `event_page` in SQL
//! - [`raw`]: what `event_source.changes` shows

pub mod functions;
pub mod raw;
pub mod read;
pub mod request;
