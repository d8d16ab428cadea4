//! What every WebSocket of ours has in common: who may open one, how much a message may be, and that it
//! counts as a client and keeps the server until it has said goodbye.
//!
//! A browser lets any page open a WebSocket anywhere: the Origin is looked at here, with the same list as
//! for CORS. Over HTTP/1.1 it is an upgrade, over HTTP/2 an extended CONNECT (RFC 8441).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use crate::accept::Connection;
use crate::answer::http_error;
use crate::cors;
use crate::faults::{self, Point};
use crate::hub::Hub;

/// Longer than any message that a protocol of ours takes.
const LONGEST_MESSAGE: usize = 1 << 20;
/// A peer that takes nothing for so long is gone.
const SEND_TIME: Duration = Duration::from_secs(30);
/// The code of a close when the server stops or the connection is no longer served.
pub(crate) const GOING_AWAY: u16 = 1001;

/// Upgrades the connection and hands it to `serve`, which owns it until it returns.
///
/// # Errors
/// A response for a request that is no WebSocket's, or comes from a page that may not.
pub(crate) async fn accept<F>(
    hub: &Arc<Hub>,
    parts: &mut Parts,
    serve: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Response, Response>
where
    F: Future<Output = ()> + Send + 'static,
{
    if !cors::may_upgrade(&hub.config().cors_origins, parts) {
        return Err(http_error(
            StatusCode::FORBIDDEN,
            "forbidden",
            "event_source.cors_origins does not name the origin of this page",
        ));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(parts, hub).await;
    let upgrade = upgrade.map_err(|refused| refused.into_response())?;
    let connection = parts.extensions.get::<Arc<Connection>>().cloned();
    let upgrade = upgrade.max_message_size(LONGEST_MESSAGE).max_frame_size(LONGEST_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| async move {
        faults::pass(Point::Socket);
        serve(Socket { socket, is_heard: true }).await;
        drop(connection);
    }))
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: WebSocket,
    /// Since the last ping.
    is_heard: bool,
}

/// What came from the peer.
#[derive(Debug)]
pub(crate) enum Received {
    Text(String),
    /// It has taken everything that was sent before the ping that carried this.
    Pong(Bytes),
}

/// The peer is gone, or as good as.
#[derive(Debug)]
pub(crate) struct Gone;

impl Socket {
    /// Sends a text message, and waits until it was written.
    ///
    /// # Errors
    /// [`Gone`]; nothing more can be sent.
    pub(crate) async fn send(&mut self, text: impl Into<String>) -> Result<(), Gone> {
        self.write(Message::Text(text.into().into())).await
    }

    /// What comes next of the peer; `None` once it has closed. Pings are answered by the library.
    ///
    /// Nothing is lost when it is dropped before it returns.
    pub(crate) async fn receive(&mut self) -> Option<Received> {
        loop {
            let received = self.socket.recv().await?;
            self.is_heard = true;
            match received {
                Ok(Message::Text(text)) => return Some(Received::Text(text.as_str().to_owned())),
                // Some clients send text as binary.
                Ok(Message::Binary(bytes)) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    return Some(Received::Text(text));
                }
                Ok(Message::Pong(carries)) => return Some(Received::Pong(carries)),
                // A close is answered by the next look, behind which there is nothing.
                Ok(Message::Ping(_) | Message::Close(_)) => {}
                Err(_) => return None,
            }
        }
    }

    /// Asks whether the peer is still there. Whoever asks must also receive: it counts as gone when
    /// nothing was heard of it since it was asked before.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub(crate) async fn ping(&mut self) -> Result<(), Gone> {
        if !std::mem::take(&mut self.is_heard) {
            return Err(Gone);
        }
        self.write(Message::Ping(Bytes::new())).await
    }

    /// [`Socket::send`], with a ping after it: the pong, which carries the same, says that the peer has taken
    /// the text.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub(crate) async fn send_asking(&mut self, text: String, carries: Bytes) -> Result<(), Gone> {
        self.send(text).await?;
        self.write(Message::Ping(carries)).await
    }

    /// Says goodbye, by a code and a reason or by neither. The peer may be gone already, and then needs
    /// none.
    pub(crate) async fn close(mut self, why: Option<(u16, &'static str)>) {
        let close = why.map(|(code, reason)| CloseFrame { code, reason: reason.into() });
        if self.write(Message::Close(close)).await.is_ok() {
            // Until the peer has closed too, or does not within the time of a message.
            let _ =
                tokio::time::timeout(SEND_TIME, async { while self.receive().await.is_some() {} })
                    .await;
        }
    }

    async fn write(&mut self, message: Message) -> Result<(), Gone> {
        match tokio::time::timeout(SEND_TIME, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}
