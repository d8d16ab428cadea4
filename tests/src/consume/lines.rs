//! The lines of a body that does not end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::http::{Connection, Failed, Version, accepted, runtime};

/// An open answer. Dropping it breaks the connection.
#[derive(Debug)]
pub struct Lines {
    // First, so that the connection's task outlives the body that reads from it.
    body: Incoming,
    read: BytesMut,
    _connection: Connection,
    runtime: Runtime,
}

impl Lines {
    /// Sends `POST path`.
    pub fn open(
        address: SocketAddr,
        version: Version,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Self, Failed> {
        let runtime = runtime()?;
        let (connection, answer) = runtime.block_on(async {
            let mut connection = Connection::open(address, version).await?;
            let answer = connection.post(address, path, headers, body).await?;
            Ok::<_, Failed>((connection, accepted(answer).await?))
        })?;
        let body = answer.into_body();
        Ok(Self { body, read: BytesMut::new(), _connection: connection, runtime })
    }

    /// The next line with its end; `None` when the body ended cleanly.
    ///
    /// [`Failed::TimedOut`] when no byte came `within` the time; reading may go on after that.
    pub fn next(&mut self, within: Duration) -> Result<Option<String>, Failed> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line = self.read.split_to(end + 1);
                let line = String::from_utf8(line.to_vec());
                return line.map(Some).map_err(|e| Failed::Malformed(e.to_string()));
            }
            let frame = self.runtime.block_on(async { timeout(within, self.body.frame()).await });
            match frame {
                Err(_) => return Err(Failed::TimedOut(within)),
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
