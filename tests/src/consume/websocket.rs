//! The text messages of a WebSocket.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::http::{Failed, runtime};

/// An open WebSocket over HTTP/1.1. Dropping it breaks the connection.
#[derive(Debug)]
pub struct WebSocket {
    socket: WebSocketStream<TcpStream>,
    runtime: Runtime,
}

impl WebSocket {
    /// Opens one at a path with its query.
    pub fn open(address: SocketAddr, path: &str) -> Result<Self, Failed> {
        let runtime = runtime()?;
        let socket = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let opened = client_async(format!("ws://{address}{path}"), tcp).await;
            Ok::<_, Failed>(opened.map_err(|e| malformed(&e))?.0)
        })?;
        Ok(Self { socket, runtime })
    }

    /// Sends a JSON message.
    pub fn send(&mut self, message: &Value) -> Result<(), Failed> {
        let message = Message::text(message.to_string());
        self.runtime.block_on(self.socket.send(message)).map_err(|e| malformed(&e))
    }

    /// The next message; `None` when the server closed.
    ///
    /// [`Failed::TimedOut`] when none came `within` the time; reading may go on after that.
    pub fn next(&mut self, within: Duration) -> Result<Option<Value>, Failed> {
        loop {
            let next = self.runtime.block_on(async { timeout(within, self.socket.next()).await });
            match next.map_err(|_| Failed::TimedOut(within))? {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text)
                        .map(Some)
                        .map_err(|e| Failed::Malformed(format!("{e}: {text}")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(malformed(&error)),
            }
        }
    }
}

fn malformed(error: &tungstenite::Error) -> Failed {
    Failed::Malformed(error.to_string())
}
