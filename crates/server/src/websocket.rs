//! What every WebSocket of ours has in common: who may open one, how much a message may be, and that it
//! counts as a client and keeps the server until it has said goodbye.
//!
//! A browser lets any page open a WebSocket anywhere: the Origin is looked at here, with the same list as
//! for CORS. Over HTTP/1.1 it is an upgrade, over HTTP/2 an extended CONNECT (RFC 8441).
//!
//! Nothing is read while something waits to be written, so that of the pings of a peer that takes nothing one is
//! answered at a time. A peer that pings faster than anybody has to is cut.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

use crate::answer::http_error;
use crate::connection::Asked;
use crate::cors;
use crate::faults::{self, Point};
use crate::hub::Hub;
use crate::log::{self, Kind};
use crate::rates::Used;

/// Longer than any message that a protocol of ours takes.
const LONGEST_MESSAGE: usize = 256 * 1024;
/// What is read at once.
const READ: usize = 4 * 1024;
/// A peer has so long to close after it was told to.
const CLOSE_TIME: Duration = Duration::from_secs(10);
/// One that broke the rules.
const CUT_TIME: Duration = Duration::from_secs(1);
/// A peer may send a control frame for no reason this often, and so many at once.
const CONTROL_FRAME: Duration = Duration::from_millis(100);
const CONTROL_FRAMES: u32 = 100;
/// The code of a close when the server stops or the connection is no longer served.
pub(crate) const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const NO_TEXT: u16 = 1007;
const POLICY: u16 = 1008;
const TOO_LONG: u16 = 1009;

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
    let asked = parts.extensions.get::<Arc<Asked>>().expect("every request has one");
    let asked = Arc::clone(asked);
    let upgrade = upgrade
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE)
        .read_buffer_size(READ);
    Ok(upgrade.on_upgrade(move |socket| {
        faults::pass(Point::Socket);
        serve(Socket::new(socket, asked))
    }))
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: WebSocket,
    asked: Arc<Asked>,
    /// Since the last ping.
    is_heard: bool,
    /// Pings that were sent and not answered yet.
    pings: u32,
    /// Control frames that came for no reason.
    control: Used,
    /// What waits to be written must have been by then.
    drained_by: Option<Instant>,
    /// The peer broke the rules: what it is told.
    cut: Option<CloseFrame>,
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
    fn new(socket: WebSocket, asked: Arc<Asked>) -> Self {
        Self {
            socket,
            asked,
            is_heard: true,
            pings: 0,
            control: Used::none(),
            drained_by: None,
            cut: None,
        }
    }

    /// Sends a text message, and waits until it was written.
    ///
    /// # Errors
    /// [`Gone`]; nothing more can be sent.
    pub(crate) async fn send(&mut self, text: impl Into<String>) -> Result<(), Gone> {
        self.write(Message::Text(text.into().into())).await
    }

    /// What comes next of the peer; `None` once it has closed, or was cut. Pings are answered by the library,
    /// the last one first.
    ///
    /// Nothing is lost when it is dropped before it returns.
    pub(crate) async fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some(why) = self.cut.clone() {
                self.say_and_end(why).await;
                return None;
            }
            self.drain().await.ok()?;
            let received = self.socket.recv().await?;
            self.is_heard = true;
            match received {
                Ok(Message::Text(text)) => return Some(Received::Text(text.as_str().to_owned())),
                // Some clients send text as binary.
                Ok(Message::Binary(bytes)) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    return Some(Received::Text(text));
                }
                Ok(Message::Pong(carries)) => {
                    match self.pings.checked_sub(1) {
                        Some(pings) => self.pings = pings,
                        None => self.count(),
                    }
                    return Some(Received::Pong(carries));
                }
                Ok(Message::Ping(_)) => self.count(),
                // It is answered by the next look, behind which there is nothing.
                Ok(Message::Close(_)) => {}
                Err(error) => self.cut = Some(fault(error)?),
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
        self.write_ping(Bytes::new()).await
    }

    /// [`Socket::send`], with a ping after it: the pong, which carries the same, says that the peer has taken
    /// the text.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub(crate) async fn send_asking(&mut self, text: String, carries: Bytes) -> Result<(), Gone> {
        self.send(text).await?;
        self.write_ping(carries).await
    }

    /// Says goodbye, by a code and a reason or by neither. The peer may be gone already, and then needs
    /// none.
    pub(crate) async fn close(mut self, why: Option<(u16, &'static str)>) {
        let close = why.map(|(code, reason)| CloseFrame { code, reason: reason.into() });
        if self.write(Message::Close(close)).await.is_ok() {
            // Until the peer has closed too.
            let closed = async { while self.receive().await.is_some() {} };
            let _ = timeout(CLOSE_TIME, closed).await;
        }
    }

    /// Logs that the credential was refused, which HTTP did not say.
    pub(crate) fn log_refusal(&self) {
        log::refused(Kind::Unauthorized, self.asked.connection().peer(), "GET", "/websocket");
    }

    /// Waits until everything was written.
    async fn drain(&mut self) -> Result<(), Gone> {
        let time = self.asked.connection().send_time();
        let until = *self.drained_by.get_or_insert_with(|| Instant::now() + time);
        match timeout_at(until, self.socket.flush()).await {
            Ok(Ok(())) => {
                self.drained_by = None;
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// A control frame came that nobody asked for.
    fn count(&mut self) {
        if !self.control.allow(CONTROL_FRAME, CONTROL_FRAME * CONTROL_FRAMES) {
            log::closed(Kind::Flood, self.asked.connection().peer());
            self.cut = Some(CloseFrame { code: POLICY, reason: "too many control frames".into() });
        }
    }

    /// What the peer still sends is read for a moment, since TCP answers unread bytes by a reset, which may go
    /// before the reason. Not so the rest of a message that is too long: the library would gather it.
    async fn say_and_end(&mut self, why: CloseFrame) {
        let reads_on = why.code != TOO_LONG;
        let ended = async {
            let _ = self.socket.send(Message::Close(Some(why))).await;
            while reads_on && matches!(self.socket.recv().await, Some(Ok(_))) {}
        };
        let _ = timeout(CUT_TIME, ended).await;
    }

    async fn write_ping(&mut self, carries: Bytes) -> Result<(), Gone> {
        self.pings = self.pings.saturating_add(1);
        self.write(Message::Ping(carries)).await
    }

    async fn write(&mut self, message: Message) -> Result<(), Gone> {
        let connection = self.asked.connection();
        connection.said(match &message {
            Message::Text(text) => text.len(),
            _ => 0,
        });
        match timeout(connection.send_time(), self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// What a peer is told that broke the rules; `None` when it is gone.
fn fault(error: axum::Error) -> Option<CloseFrame> {
    let error = error.into_inner();
    let (code, reason) = match error.downcast_ref::<Error>()? {
        Error::Capacity(_) => (TOO_LONG, "the message is too long"),
        Error::Utf8(_) => (NO_TEXT, "the message is not UTF-8"),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => return None,
        Error::Protocol(_) => (PROTOCOL_ERROR, "the protocol was broken"),
        _ => return None,
    };
    Some(CloseFrame { code, reason: reason.into() })
}
