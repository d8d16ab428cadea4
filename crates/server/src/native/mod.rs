//! The native protocol: `/v1/stream` and `/v1/feed`.
//!
//! - [`mod@routes`]: which request is answered how
//! - [`renderer`]: events as JSON lines or server-sent events
//! - [`websocket`]: the lines as messages
//! - [`params`]: what a request may ask for

mod params;
mod renderer;
mod routes;
mod websocket;

pub(crate) use routes::routes;
