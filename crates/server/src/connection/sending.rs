//! Answers that are not taken.
//!
//! HTTP asks a body for more once the peer has room for what the body gave before. So a body that gave something
//! and is not asked again belongs to a peer that takes nothing, whether its window is shut or TCP's buffers are
//! full. When that lasts, the stream of HTTP/2 is reset, the connection of HTTP/1.1 closed: the client
//! goes on from its cursor. Large pieces are cut, so that a slow peer is seen to take some.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Asked, Connection};
use crate::drive::Streams;
use crate::log::{self, Kind};

/// What a peer must take within the time of sending.
const PIECE: usize = 64 * 1024;

/// What is known of an answer on its way.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pieces: AtomicU32,
    /// The last piece was given and nothing was asked for since.
    is_waiting: AtomicBool,
}

impl Sent {
    /// A piece was given. Nobody else writes the count.
    fn gave(&self) {
        self.pieces.store(self.pieces.load(Relaxed).wrapping_add(1), Relaxed);
        self.is_waiting.store(true, Relaxed);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    body: B,
    /// Of the last piece.
    rest: Bytes,
    asked: Arc<Asked>,
}

impl<B> Answer<B> {
    pub(crate) fn new(body: B, asked: Arc<Asked>) -> Self {
        Self { body, rest: Bytes::new(), asked }
    }

    fn give(&mut self, mut piece: Bytes) -> Frame<Bytes> {
        self.rest = piece.split_off(piece.len().min(PIECE));
        self.asked.connection.said(piece.len());
        self.asked.sent.gave();
        Frame::data(piece)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.asked.sent.is_waiting.store(false, Relaxed);
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.give(rest))));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            ended => return Poll::Ready(ended),
        };
        let frame = match frame.into_data() {
            Ok(piece) => self.give(piece),
            Err(other) => other,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.asked.sent.is_waiting.store(false, Relaxed);
    }
}

/// How long an answer has not been taken.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// Which piece waits since when.
    since: Option<(u32, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Ready when the answers of a connection of HTTP/1.1 are not taken. To be called after the
    /// connection was driven.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, connection: &Connection) -> Poll<()> {
        self.poll_sent(context, &connection.sent, connection.send_time)
    }

    fn poll_sent(&mut self, context: &mut Context<'_>, sent: &Sent, time: Duration) -> Poll<()> {
        if !sent.is_waiting.load(Relaxed) {
            self.since = None;
            return Poll::Pending;
        }
        let piece = sent.pieces.load(Relaxed);
        let since = match self.since {
            Some((waiting, since)) if waiting == piece => since,
            _ => self.since.insert((piece, Instant::now())).1,
        };
        let until = since + time;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            ready!(timer.as_mut().poll(context));
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            // It was set for an earlier piece.
            timer.as_mut().reset(until);
        }
    }
}

/// Takes the streams of a connection, and ends those whose answers are not taken.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    streams: Streams,
    connection: Arc<Connection>,
}

impl Watching {
    pub(crate) fn new(streams: Streams, connection: Arc<Connection>) -> Self {
        Self { streams, connection }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Watching {
    fn execute(&self, stream: F) {
        let sent = self.connection.next().take();
        match sent {
            Some(sent) => {
                let connection = Arc::clone(&self.connection);
                let stall = Stall::default();
                self.streams.execute(Watched { stream, stall, sent, connection });
            }
            // What carries a WebSocket has its own times.
            None => self.streams.execute(stream),
        }
    }
}

pin_project! {
    /// A stream that ends when its answer is not taken.
    struct Watched<F> {
        #[pin]
        stream: F,
        stall: Stall,
        sent: Arc<Sent>,
        connection: Arc<Connection>,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(context).is_ready() {
            return Poll::Ready(());
        }
        ready!(this.stall.poll_sent(context, this.sent, this.connection.send_time));
        log::closed(Kind::Send, this.connection.peer());
        Poll::Ready(())
    }
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Heard {
    body: Incoming,
    asked: Arc<Asked>,
}

impl Heard {
    pub(super) fn new(body: Incoming, asked: Arc<Asked>) -> Self {
        Self { body, asked }
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !data.is_empty()
        {
            self.asked.connection.floods.took(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
