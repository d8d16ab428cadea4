//! Small clients that follow event sources the way users do, one a wire.
//!
//! They run in the test's own threads, each on a runtime of its own, so that dropping a client
//! drops its connection at once, as a program that dies does. They check what every reader may rely
//! on (framing, one line an event, ids of server-sent events) and never repair or retry: what a test
//! is to notice must not be smoothed over here. They must never call the extension's own code.

pub mod event;
pub mod feed;
pub mod http;
pub mod latency;
pub mod lines;
pub mod sql;
pub mod stream;
pub mod v10;
pub mod v4;
pub mod websocket;

pub use event::{Event, Kind, Page, WireError};
pub use feed::Feed;
pub use http::{Failed, Version};
pub use stream::{Form, Request, Stream};
