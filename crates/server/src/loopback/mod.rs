//! LoopBack 3's change streams: `GET` and `POST /api/{Plural}/change-stream`.
//!
//! - [`mod@routes`]: a request, and the stream that answers it
//! - [`options`]: what a request asks for, in each of the forms that LoopBack reads
//! - [`condition`]: `where` as a test over a row
//! - [`renderer`]: changes as server-sent events or as JSON lines

mod condition;
mod options;
mod renderer;
mod routes;

pub(crate) use routes::routes;
