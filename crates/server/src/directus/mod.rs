//! Directus' realtime subscriptions: `/websocket`.
//!
//! Guarantees what Directus' SDK needs: nothing is sent before the answer to `auth`, a message leaves
//! when the one before was taken, `init` and what follows it have no gap. Runs in the server; it asks the
//! worker like every other protocol, and must not call it otherwise.
//!
//! - [`mod@routes`]: the upgrade; [`connection`]: a socket from there to its end
//! - [`identity`]: as whom it acts
//! - [`mod@request`]: what a client may say; [`mod@query`], [`filter`], [`search`], [`now`]: what it may ask
//! - [`ask`]: a subscription as a question to the worker; [`names`]: what the worker finds wrong
//! - [`renderer`], [`mod@line`]: events for connections; [`subscription`], [`order`]: messages made of them

mod ask;
mod connection;
mod filter;
mod identity;
mod line;
mod names;
mod now;
mod order;
mod query;
mod renderer;
mod request;
mod routes;
mod search;
mod subscription;
mod taken;

pub(crate) use routes::routes;
