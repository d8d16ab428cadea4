//! WebSockets as a client has them, over HTTP/1.1 and over HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::worker::PATIENCE;

/// A connection of HTTP/2 for many sockets.
#[derive(Clone)]
pub(crate) struct Two(http2::SendRequest<Empty<Bytes>>);

pub(crate) struct Socket(WebSocketStream<TokioIo<Upgraded>>);

/// How a socket ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    Pong(Bytes),
    Close(Option<u16>),
    Broken,
}

/// Asks for a socket over HTTP/1.1.
pub(crate) async fn ask_one(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    // A pong and what is said after it would wait for each other's acknowledgement.
    stream.set_nodelay(true).expect("it is open");
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder()
        .uri(path)
        .header("host", address.to_string())
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let sent = tokio::time::timeout(PATIENCE, sender.send_request(request));
    sent.await.expect("an answer in time").expect("a response")
}

impl Two {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.expect("the server listens"));
        // The window of Node: a reader that stops reading is noticed early.
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(65_535);
        let (mut sender, connection) = builder.handshake(io).await.expect("HTTP/2");
        tokio::spawn(connection);
        // Whether CONNECT has a protocol the server says in its first frame, which comes before this.
        let health = Request::builder().uri("http://localhost/health").body(Empty::new());
        let answer = sender.send_request(health.expect("a request")).await.expect("a response");
        assert_eq!(answer.status(), 200);
        Self(sender)
    }

    /// Asks for a socket by an extended CONNECT.
    pub(crate) async fn ask(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::builder()
            .method(Method::CONNECT)
            .extension(hyper::ext::Protocol::from_static("websocket"))
            .uri(format!("http://localhost{path}"))
            .header("sec-websocket-version", "13")
            .body(Empty::new())
            .expect("a request");
        let sent = tokio::time::timeout(PATIENCE, self.0.send_request(request));
        sent.await.expect("an answer in time").expect("a response")
    }
}

impl Socket {
    pub(crate) async fn of(response: Response<Incoming>) -> Self {
        let expected = if response.version() == hyper::Version::HTTP_2 { 200 } else { 101 };
        assert_eq!(response.status(), expected);
        let upgraded = hyper::upgrade::on(response).await.expect("it is upgraded");
        let io = TokioIo::new(upgraded);
        Self(WebSocketStream::from_raw_socket(io, Role::Client, None).await)
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.0.send(message).await.expect("the socket is open");
    }

    pub(crate) async fn next(&mut self) -> Said {
        tokio::time::timeout(PATIENCE, self.next_at_last()).await.expect("something in time")
    }

    /// As [`Socket::next`], for tests whose clock jumps to whatever is due next.
    pub(crate) async fn next_at_last(&mut self) -> Said {
        loop {
            return match self.0.next().await {
                None | Some(Err(_)) => Said::Broken,
                Some(Ok(Message::Text(text))) => Said::Text(text.as_str().to_owned()),
                Some(Ok(Message::Pong(bytes))) => Said::Pong(bytes),
                Some(Ok(Message::Close(close))) => Said::Close(close.map(|c| c.code.into())),
                Some(Ok(_)) => continue,
            };
        }
    }

    /// The ping that comes next. It is not answered before the next look, and so nothing may be behind it.
    pub(crate) async fn ping(&mut self) {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a ping in time");
        assert!(matches!(next, Some(Ok(Message::Ping(_)))), "no ping: {next:?}");
        let behind = self.0.next().now_or_never();
        assert!(behind.is_none(), "sent before the pong: {behind:?}");
    }

    /// The next message, which is JSON.
    pub(crate) async fn event(&mut self) -> Value {
        let said = self.next().await;
        Self::read(said)
    }

    /// As [`Socket::event`], for tests whose clock jumps to whatever is due next.
    pub(crate) async fn event_at_last(&mut self) -> Value {
        let said = self.next_at_last().await;
        Self::read(said)
    }

    fn read(said: Said) -> Value {
        match said {
            Said::Text(text) => {
                assert!(!text.contains('\n'), "one event is one message: {text}");
                serde_json::from_str(&text).expect("one JSON text a message")
            }
            other => panic!("no message: {other:?}"),
        }
    }
}
