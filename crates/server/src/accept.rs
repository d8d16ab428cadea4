//! Accepts connections and speaks HTTP/1.1 or HTTP/2 on them, told apart by their first bytes.
//!
//! It guarantees that a connection over the limit gets a clear refusal rather than silence, and
//! that a failure to accept (no descriptor left) is waited out rather than spun on.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::hub::Hub;
use crate::log;
use crate::shutdown::{Busy, Shutdown};

/// A client must have sent its request's head by then; also the time to send the first byte.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// HTTP/2 peers are asked this often whether they are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Fauna's Node driver opens up to 100 streams on one connection, others more.
const STREAMS_PER_CONNECTION: u32 = 1000;
/// Connections over the limit that are refused in words; those beyond are only closed.
const REFUSED_IN_WORDS: usize = 64;
/// What HTTP/2 holds for a stream beside our own queue; its default of 400 kB is too much for many.
const SEND_BUFFER: usize = 64 * 1024;
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) SocketAddr);

/// The connection is over the limit: every request on it is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverLimit;

/// What all listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    hub: Arc<Hub>,
    router: Router,
    builder: Builder<TokioExecutor>,
    clients: Arc<AtomicUsize>,
    /// Held until the last connection has ended.
    _busy: Busy,
}

impl Acceptor {
    pub(crate) fn new(hub: Arc<Hub>, router: Router, busy: Busy) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_streams(STREAMS_PER_CONNECTION);
        Self { hub, router, builder, clients: Arc::default(), _busy: busy }
    }

    /// Accepts until the stop.
    pub(crate) async fn run(self, listener: TcpListener) {
        let mut stop = self.hub.shutdown();
        let mut backoff = Duration::from_millis(10);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.wait() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    backoff = Duration::from_millis(10);
                    self.admit(stream, address);
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    log::line(format_args!("cannot accept a connection: {error}"));
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let place = Place::take(&self.clients);
        let limit = self.hub.config().max_clients as usize;
        if place.number > limit + REFUSED_IN_WORDS {
            return;
        }
        let over = place.number > limit;
        let this = self.clone();
        tokio::spawn(async move {
            let stop = this.hub.shutdown();
            let served = this.serve(stream, address, over, stop);
            if over {
                // The refusal is all that such a connection is for.
                let _ = tokio::time::timeout(HEAD_TIME, served).await;
            } else {
                served.await;
            }
            drop(place);
        });
    }

    async fn serve(&self, stream: TcpStream, address: SocketAddr, over: bool, mut stop: Shutdown) {
        // An event must not wait for the acknowledgement of the one before. When that cannot be
        // set the peer is already gone, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let mut first = [0];
        let first_byte = stream.peek(&mut first);
        if !matches!(tokio::time::timeout(HEAD_TIME, first_byte).await, Ok(Ok(1))) {
            return;
        }
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Client(address));
            if over {
                request.extensions_mut().insert(OverLimit);
            }
            router.clone().oneshot(request.map(Body::new))
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        // What ends a connection (a reset, a broken request) is the peer's doing and its alone.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.wait() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// One of the connections that are open.
struct Place {
    clients: Arc<AtomicUsize>,
    /// How many there are with this one.
    number: usize,
}

impl Place {
    fn take(clients: &Arc<AtomicUsize>) -> Self {
        let number = clients.fetch_add(1, Ordering::Relaxed) + 1;
        Self { clients: Arc::clone(clients), number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the connection failed rather than the listener.
fn is_the_peers(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
