//! Fauna v10's protocol: `/stream/1`, `/feed/1` and `/query/1`.
//!
//! - [`mod@routes`]: streams and feeds; [`feed`]: a page within the client's time
//! - [`renderer`]: events in the frames that its drivers can read
//! - [`query`]: queries that make event sources
//! - [`headers`]: what the drivers' headers ask for

mod feed;
mod headers;
mod query;
mod renderer;
mod routes;

pub(crate) use routes::{queries, routes};
