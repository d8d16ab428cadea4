//! One HTTP connection, HTTP/1.1 or HTTP/2 with prior knowledge, and how a request can fail.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// Which HTTP a client speaks; the port takes both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// Why a client got nothing, or nothing more.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("connection: {0}")]
    Connection(#[from] std::io::Error),
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    /// The answer was not 200. The body is null when it was no JSON.
    #[error("refused with {status}: {body}")]
    Refused { status: StatusCode, body: Value },
    /// The server broke a promise about framing or about the shape of an event.
    #[error("malformed: {0}")]
    Malformed(String),
    #[error("nothing came within {0:?}")]
    TimedOut(std::time::Duration),
}

impl Failed {
    /// The `error.code` of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { body, .. } => body["error"]["code"].as_str(),
            _ => None,
        }
    }
}

/// A runtime for one client: everything of it ends when the client is dropped.
pub(super) fn runtime() -> Result<Runtime, Failed> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// A connection, driven by a task of the runtime it was opened on.
#[derive(Debug)]
pub enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Connects to `address`.
    pub async fn open(address: SocketAddr, version: Version) -> Result<Self, Failed> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let io = TokioIo::new(tcp);
        // The driving tasks end with the connection; how it ended is seen by whoever reads a body.
        match version {
            Version::Http1 => {
                let (sender, driver) = http1::handshake(io).await?;
                tokio::spawn(driver);
                Ok(Self::Http1(sender))
            }
            Version::Http2 => {
                let (sender, driver) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(1 << 24)
                    .handshake(io)
                    .await?;
                tokio::spawn(driver);
                Ok(Self::Http2(sender))
            }
        }
    }

    /// Sends `POST path` with a JSON body.
    pub async fn post(
        &mut self,
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Response<Incoming>, Failed> {
        let target = match self {
            Self::Http1(_) => path.to_owned(),
            Self::Http2(_) => format!("http://{address}{path}"),
        };
        let mut request = Request::post(target).header("content-type", "application/json");
        if let Self::Http1(_) = self {
            request = request.header("host", address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|e| Failed::Malformed(e.to_string()))?;
        Ok(match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    /// Whether another request can be sent.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }
}

/// The whole text of the answer to `POST path`.
pub fn text(
    address: SocketAddr,
    version: Version,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Result<String, Failed> {
    let bytes = runtime()?.block_on(async {
        let mut connection = Connection::open(address, version).await?;
        let answer = accepted(connection.post(address, path, headers, body).await?).await?;
        Ok::<_, Failed>(answer.into_body().collect().await?.to_bytes())
    })?;
    String::from_utf8(bytes.to_vec()).map_err(|e| Failed::Malformed(e.to_string()))
}

/// Turns an answer that is not 200 into [`Failed::Refused`].
pub(super) async fn accepted(answer: Response<Incoming>) -> Result<Response<Incoming>, Failed> {
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let bytes = answer.into_body().collect().await?.to_bytes();
    Err(Failed::Refused { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
}
