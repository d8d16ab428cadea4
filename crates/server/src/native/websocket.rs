//! Native streams over a WebSocket: each event, status and error a text message, the same JSON as a line of
//! `/v1/stream`.
//!
//! Whoever may not read is told so by HTTP, before there is a socket. What a client sends is read, so that its
//! pings are answered and its close is seen, and means nothing. A reader that takes nothing leaves its stream
//! in the log as any other does, and is cut after a while.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use serde_json::Value;
use tokio::time::{Instant, interval_at};

use crate::hub::{Hub, Next, Subscription};
use crate::websocket::{self, GOING_AWAY, Gone, Socket};

/// The codes of RFC 6455 for what ends a stream.
const POLICY: u16 = 1008;
const INTERNAL: u16 = 1011;
const TRY_AGAIN_LATER: u16 = 1013;

/// How often the peer is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Whether the request wants a WebSocket: an upgrade of HTTP/1.1, or a CONNECT of HTTP/2.
pub(super) fn is_wanted(method: &Method, headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|upgrade| upgrade.to_str().ok());
    method == Method::CONNECT || upgrade.is_some_and(|to| to.eq_ignore_ascii_case("websocket"))
}

/// Sends the stream over a WebSocket.
pub(super) async fn serve(
    hub: &Arc<Hub>,
    parts: &mut Parts,
    subscription: Subscription,
) -> Response {
    let going = Arc::clone(hub);
    let served = websocket::accept(hub, parts, move |socket| async move {
        follow(&going, subscription, socket).await;
    });
    served.await.unwrap_or_else(|refused| refused)
}

async fn follow(hub: &Hub, subscription: Subscription, mut socket: Socket) {
    let mut last = Vec::new();
    let mut pings = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    loop {
        let next = tokio::select! {
            next = poll_fn(|context| subscription.poll_next(context, false)) => next,
            received = socket.receive() => match received {
                Some(_) => continue,
                None => return,
            },
            _ = pings.tick() => match socket.ping().await {
                Ok(()) => continue,
                Err(Gone) => return,
            },
        };
        match next {
            Next::Chunk(chunk) => {
                if send(&mut socket, &chunk.bytes).await.is_err() {
                    return;
                }
                if chunk.events == 0 {
                    last = chunk.bytes.to_vec();
                }
            }
            Next::End(Ok(())) => {
                let (code, reason) = closing(hub.is_stopping(), &last);
                return socket.close(Some((code, reason))).await;
            }
            // Without a goodbye, as a broken stream of HTTP.
            Next::End(Err(_)) => return,
        }
    }
}

/// The lines of a chunk, a message each.
async fn send(socket: &mut Socket, lines: &[u8]) -> Result<(), Gone> {
    let text = str::from_utf8(lines).expect("renderers write text");
    for line in text.lines() {
        socket.send(line).await?;
    }
    Ok(())
}

/// The code and the reason of the close behind an error.
fn closing(is_stopping: bool, last: &[u8]) -> (u16, &'static str) {
    if is_stopping {
        return (GOING_AWAY, "the server is stopping");
    }
    let said: Value = serde_json::from_slice(last).unwrap_or_default();
    match said["error"]["code"].as_str() {
        Some("unavailable" | "limit_exceeded" | "time_out") => (TRY_AGAIN_LATER, "try again later"),
        Some("internal_error") | None => (INTERNAL, "internal error"),
        Some(_) => (POLICY, "the stream has ended"),
    }
}
