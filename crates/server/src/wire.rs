//! A connection's socket as HTTP writes to it: what is written while the connection is driven leaves together.
//!
//! HTTP/2 hands over 16 KB at a time, or a single frame when it believes that the socket gathers; many
//! streams would be many writes. So this says that it does not gather, keeps what is written, and sends it
//! when [`Wire::send`] is called: once all streams that were ready have had their say. It holds little, and
//! only in between: a socket that takes no more stops the writer as it would without this.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

use crate::connection::Socket;

use crate::faults;

/// With so much a write is worth its price: a frame of HTTP/2 with its head, and a little more.
const FULL: usize = 20 * 1024;

thread_local! {
    /// One buffer for all connections of a thread: an idle one has none.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The socket, shared by HTTP and by who drives the connection.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    socket: TokioIo<Socket>,
    held: Vec<u8>,
    /// How much of `held` has left.
    sent: usize,
    /// Somebody will call [`Wire::send`]; not so when the connection has become something else's.
    is_driven: bool,
    /// The socket did not take everything.
    is_blocked: bool,
}

impl Wire {
    pub(crate) fn new(socket: Socket) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            socket: TokioIo::new(socket),
            held: Vec::new(),
            sent: 0,
            is_driven: false,
            is_blocked: false,
        })))
    }

    /// From here on what is written may wait for [`Wire::send`].
    pub(crate) fn hold(&self) {
        self.lock().is_driven = true;
    }

    /// Sends what waits, as far as the socket takes it; the task is woken when it takes more.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn send(&self, context: &mut Context<'_>) -> io::Result<()> {
        let mut inner = self.lock();
        inner.is_driven = false;
        match inner.send(context) {
            Poll::Ready(sent) => sent,
            Poll::Pending => {
                // It may last.
                let sent = std::mem::take(&mut inner.sent);
                inner.held.drain(..sent);
                inner.held.shrink_to_fit();
                Ok(())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        faults::lock(&self.0)
    }
}

impl Inner {
    fn keep(&mut self, bytes: &[u8]) {
        if self.held.capacity() == 0 {
            self.held = SPARE.take();
            self.held.reserve_exact(FULL);
        }
        self.held.extend_from_slice(bytes);
    }

    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            self.is_blocked = true;
            let waiting = &self.held[self.sent..];
            let n = ready!(Pin::new(&mut self.socket).poll_write(context, waiting))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
        }
        self.is_blocked = false;
        self.sent = 0;
        self.held.clear();
        SPARE.set(std::mem::take(&mut self.held));
        Poll::Ready(Ok(()))
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().socket).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let is_large = bytes.len() > FULL;
        let waiting = inner.held.len() - inner.sent;
        if !inner.is_driven || inner.is_blocked || is_large || waiting + bytes.len() > FULL {
            ready!(inner.send(context))?;
        }
        if !inner.is_driven || is_large {
            return Pin::new(&mut inner.socket).poll_write(context, bytes);
        }
        inner.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// HTTP/1.1 writes so, whatever is said of gathering; see `accept::http`.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices {
            match self.as_mut().poll_write(context, slice) {
                Poll::Ready(Ok(n)) => {
                    written += n;
                    if n < slice.len() {
                        break;
                    }
                }
                // What is broken or blocked will be so again at the next write.
                _ if written > 0 => break,
                failed => return failed,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.is_driven { Poll::Ready(Ok(())) } else { inner.send(context) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.send(context))?;
        Pin::new(&mut inner.socket).poll_shutdown(context)
    }
}
