//! The socket of a connection, on which everything is counted that comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use event_source_door::limits::Limits;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Connection;
use crate::log::{self, Kind};

/// How often TCP asks a silent peer before it counts as gone.
const ASKED: u32 = 6;

#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Socket {
    /// When an option cannot be set the peer is already gone, which the first read will tell.
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>, limits: &Limits) -> Self {
        // An event must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let socket = SockRef::from(&stream);
        let time = |millis: u32| Duration::from_millis(millis.into());
        if limits.tcp_keepalive > 0 {
            // The kernel counts in seconds.
            let silence = time(limits.tcp_keepalive).max(Duration::from_secs(1));
            let between = (silence / ASKED).max(Duration::from_secs(1));
            let keepalive = TcpKeepalive::new();
            let keepalive = keepalive.with_time(silence).with_interval(between).with_retries(ASKED);
            let _ = socket.set_tcp_keepalive(&keepalive);
        }
        if limits.tcp_user_timeout > 0 {
            let _ = socket.set_tcp_user_timeout(Some(time(limits.tcp_user_timeout)));
        }
        Self { stream, connection }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let came = buffer.filled().len() - before;
        if came > 0 {
            self.connection.times.heard();
            if self.connection.floods.heard(came) {
                log::closed(Kind::Flood, self.connection.peer());
            }
        }
        if self.connection.floods.is_over() {
            // Also where the connection has become something else's, which nobody looks at.
            return Poll::Ready(Err(io::Error::other("the peer sends too much for no reason")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::peer::Peer;
    use crate::places::Places;
    use crate::shutdown;

    async fn socket(limits: &Limits) -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (stream, _) = tokio::join!(TcpStream::connect(address), listener.accept());
        let peer = Peer::of(address.ip());
        let place = Places::default().take(peer, 1, None).expect("a place");
        let connection = Connection::new(peer, place, limits, shutdown::busy().0);
        Socket::new(stream.expect("it listens"), connection, limits)
    }

    #[tokio::test]
    async fn tcp_is_told_how_long_to_wait_for_a_peer() {
        let limits =
            Limits { tcp_keepalive: 60_000, tcp_user_timeout: 90_500, ..Limits::default() };
        let socket = socket(&limits).await;
        let options = SockRef::from(&socket.stream);
        assert!(options.keepalive().expect("Linux"));
        let seconds = Duration::from_secs;
        assert_eq!(options.tcp_keepalive_time().expect("Linux"), seconds(60));
        assert_eq!(options.tcp_keepalive_interval().expect("Linux"), seconds(10));
        let user_timeout = options.tcp_user_timeout().expect("Linux");
        assert_eq!(user_timeout, Some(Duration::from_millis(90_500)));
    }

    #[tokio::test]
    async fn nothing_leaves_it_to_the_system() {
        let limits = Limits { tcp_keepalive: 0, tcp_user_timeout: 0, ..Limits::default() };
        let socket = socket(&limits).await;
        let options = SockRef::from(&socket.stream);
        assert!(!options.keepalive().expect("Linux"));
        assert_eq!(options.tcp_user_timeout().expect("Linux"), None);
    }
}
