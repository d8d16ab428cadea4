//! Directus' realtime messages, as its SDK reads them.
//!
//! - [`value`]: items and keys
//! - [`message`]: what is sent over the socket
//! - [`mod@error`]: errors, and what a reason is called

pub mod error;
pub mod message;
pub mod value;
