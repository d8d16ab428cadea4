//! The native feed over HTTP: one page a request, over a connection that is kept.

use std::net::SocketAddr;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::event::Page;
use super::http::{Connection, Failed, Version, accepted, runtime};

/// A client of `/v1/feed`.
#[derive(Debug)]
pub struct Feed {
    address: SocketAddr,
    version: Version,
    connection: Option<Connection>,
    runtime: Runtime,
}

impl Feed {
    /// A client of `address`; it connects with its first page.
    pub fn new(address: SocketAddr, version: Version) -> Result<Self, Failed> {
        Ok(Self { address, version, connection: None, runtime: runtime()? })
    }

    /// The page behind `cursor`, or behind the token's start.
    ///
    /// `more` are further parameters, such as `{"include": "prev", "wait": 1}`.
    pub fn page(
        &mut self,
        token: &str,
        cursor: Option<&str>,
        more: &Value,
    ) -> Result<Page, Failed> {
        let mut body = more.clone();
        body["token"] = json!(token);
        if let Some(cursor) = cursor {
            body["cursor"] = json!(cursor);
        }
        let Self { address, version, connection, runtime } = self;
        let bytes = runtime.block_on(async {
            // A server may close a connection that it kept; asking again is every client's duty.
            if !connection.as_ref().is_some_and(Connection::is_usable) {
                *connection = Some(Connection::open(*address, *version).await?);
            }
            let open = connection.as_mut().expect("opened above");
            let answer = accepted(open.post(*address, "/v1/feed", &[], &body).await?).await?;
            Ok::<_, Failed>(answer.into_body().collect().await?.to_bytes())
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Failed::Malformed(format!("{e}: {}", String::from_utf8_lossy(&bytes))))
    }
}
