//! HTTP clients: a connection of either version, and the lines of a body.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use super::worker::PATIENCE;

pub(crate) enum Client {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub(crate) async fn one(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.expect("the server listens"));
        let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self::One(sender)
    }

    /// HTTP/2 with prior knowledge, and the window of Node: a reader that stops reading is noticed early.
    pub(crate) async fn two(address: SocketAddr) -> Self {
        Self::two_with(address, 65_535).await
    }

    pub(crate) async fn two_with(address: SocketAddr, window: u32) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.expect("the server listens"));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(65_535).initial_connection_window_size(window);
        let (sender, connection) = builder.handshake(io).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self::Two(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let sent = async {
            match self {
                Self::One(sender) => sender.send_request(request).await,
                Self::Two(sender) => sender.send_request(request).await,
            }
        };
        let response = tokio::time::timeout(PATIENCE, sent).await.expect("an answer in time");
        response.expect("a response")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.send(request("GET", path, &[], "")).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Response<Incoming> {
        self.send(request(
            "POST",
            path,
            &[("authorization", "Bearer est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA")],
            body,
        ))
        .await
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request")
}

/// The whole body as JSON.
pub(crate) async fn json(response: Response<Incoming>) -> Value {
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
    let bytes = body.expect("a body in time").expect("a whole body").to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {bytes:?}"))
}

/// How a body went on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Text(String),
    End,
    Broken,
}

/// The lines of a stream, read only when asked for.
pub(crate) struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    /// How many pieces the body came in.
    pub(crate) frames: usize,
    /// Bytes of the longest of them.
    pub(crate) longest: usize,
}

impl Lines {
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new(), frames: 0, longest: 0 }
    }

    /// The next line with its end.
    pub(crate) async fn next(&mut self) -> Line {
        loop {
            if let Some(at) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Line::Text(String::from_utf8(line).expect("UTF-8"));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            match frame.expect("more of the body in time") {
                None => return Line::End,
                Some(Err(_)) => return Line::Broken,
                Some(Ok(frame)) => {
                    self.frames += 1;
                    let data = frame.into_data().expect("no trailers");
                    self.longest = self.longest.max(data.len());
                    self.rest.extend(data);
                }
            }
        }
    }

    /// The next line, which is JSON.
    pub(crate) async fn event(&mut self) -> Value {
        match self.next().await {
            Line::Text(line) => serde_json::from_str(&line).expect("one JSON text a line"),
            other => panic!("the stream is over: {other:?}"),
        }
    }

    /// The keys of the next `n` events, statuses passed over.
    pub(crate) async fn keys(&mut self, n: usize) -> Vec<i64> {
        let mut keys = Vec::new();
        while keys.len() < n {
            let event = self.event().await;
            if event["type"] != "status" {
                keys.push(event["key"].as_i64().unwrap_or_else(|| panic!("no key: {event}")));
            }
        }
        keys
    }
}
