//! A bare hyper server that streams ready-made bytes: nobody who uses hyper can be much cheaper.
//!
//! `event_source_bench_hyper ADDRESS THREADS vectored|coalescing`: each stream gets a first line, then what is asked for on
//! standard input: two little-endian numbers, how many events and how many of them share a frame. With
//! `coalescing` the I/O says that it is not vectored; then h2 copies small frames into one write.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Senders = Arc<Mutex<Vec<UnboundedSender<Bytes>>>>;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument =
        || arguments.next().ok_or_else(|| io::Error::other("an argument is missing"));
    let (address, threads, form) = (argument()?, argument()?, argument()?);
    let threads = threads.parse().map_err(io::Error::other)?;
    let is_vectored = form == "vectored";
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let senders = Senders::default();
        let listener = TcpListener::bind(address).await?;
        tokio::spawn(accept(listener, Arc::clone(&senders), is_vectored));
        publish(&senders).await
    })
}

async fn accept(listener: TcpListener, senders: Senders, is_vectored: bool) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let senders = Arc::clone(&senders);
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let (sender, receiver) = unbounded_channel();
                sender.send(Bytes::from_static(b"{}\n")).expect("its receiver is here");
                senders.lock().expect("nobody panics").push(sender);
                async { Ok::<_, Infallible>(Response::new(Lines(receiver))) }
            });
            let io = Io { inner: TokioIo::new(stream), is_vectored };
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(1000).max_send_buf_size(64 * 1024);
            // What ends a connection is the client's doing.
            let _ = builder.serve_connection(io, service).await;
        });
    }
}

/// Until standard input ends.
async fn publish(senders: &Senders) -> io::Result<()> {
    let mut input = tokio::io::stdin();
    let mut number = 0;
    while let Ok(events) = input.read_u32_le().await {
        let per_frame = input.read_u32_le().await?;
        let mut left = events;
        while left > 0 {
            let here = left.min(per_frame);
            let mut lines = String::new();
            for _ in 0..here {
                // As long as what event_source writes for the same.
                lines.push_str(&line(number));
                number += 1;
            }
            let lines = Bytes::from(lines);
            for sender in senders.lock().expect("nobody panics").iter() {
                // Whoever has gone needs none.
                let _ = sender.send(lines.clone());
            }
            left -= here;
        }
    }
    Ok(())
}

fn line(number: u64) -> String {
    let txn_ts = 1_700_000_000_000_001 + number;
    let text = "as long as the text of a row often is, ".repeat(7);
    format!(
        "{{\"type\":\"add\",\"txn_ts\":{txn_ts},\"cursor\":\"AQcAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAA\",\"key\":7,\"data\":{{\"id\":7,\"name\":\"#{number:08} {text}\"}}}}\n"
    )
}

struct Lines(UnboundedReceiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

struct Io {
    inner: TokioIo<TcpStream>,
    is_vectored: bool,
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored && self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }
}
