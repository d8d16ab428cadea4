//! Accepts connections and speaks HTTP/1.1 or HTTP/2 on them, told apart by their first bytes.
//!
//! It guarantees that a connection over the limit gets a clear refusal rather than silence, and
//! that a failure to accept (no descriptor left) is waited out rather than spun on.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use event_source_model::event::{Reason, Refusal};
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::answer::refusal;
use crate::drive::{Driver, Streams};
use crate::faults::{self, Point};
use crate::hub::Hub;
use crate::log;
use crate::shutdown::{Busy, Shutdown};
use crate::wire::Wire;

/// A client must have sent its request's head by then; also the time to send the first byte.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// HTTP/2 peers are asked this often whether they are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Fauna's Node driver opens up to 100 streams on one connection, others more.
const STREAMS_PER_CONNECTION: u32 = 1000;
/// How long streams have to say why they end before their connection does.
const FAREWELL: Duration = Duration::from_millis(50);
/// Connections over the limit that are refused in words; those beyond are only closed.
const REFUSED_IN_WORDS: usize = 64;
/// What HTTP/2 holds for a stream beside our own queue; its default of 400 kB is too much for many.
const SEND_BUFFER: usize = 64 * 1024;
/// What HTTP/1.1 holds of a request's head, and of a stream whose reader takes nothing; its default is 400 kB.
const BUFFER: usize = 32 * 1024;
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// The connection that a request came on. It counts as a client, and the stop waits for it, as long as
/// somebody holds this: a WebSocket does when HTTP is done with it.
#[derive(Debug)]
pub(crate) struct Connection {
    _place: Place,
    _busy: Busy,
}

/// The connection is over the limit: every request on it is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverLimit;

/// What all listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    hub: Arc<Hub>,
    router: Router,
    clients: Arc<AtomicUsize>,
    /// Held until the last connection has ended.
    busy: Busy,
}

impl Acceptor {
    pub(crate) fn new(hub: Arc<Hub>, router: Router, busy: Busy) -> Self {
        Self { hub, router, clients: Arc::default(), busy }
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
                Ok((stream, _)) => {
                    backoff = Duration::from_millis(10);
                    faults::caught("a connection", || self.admit(stream));
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

    fn admit(&self, stream: TcpStream) {
        faults::pass(Point::Accept);
        let place = Place::take(&self.clients);
        let limit = self.hub.config().max_clients as usize;
        if place.number > limit + REFUSED_IN_WORDS {
            return;
        }
        let over = place.number > limit;
        let this = self.clone();
        let connection = Connection { _place: place, _busy: self.busy.clone() };
        tokio::spawn(async move {
            faults::pass(Point::Connection);
            let stop = this.hub.shutdown();
            let served = this.serve(stream, Arc::new(connection), over, stop);
            if over {
                // The refusal is all that such a connection is for.
                let _ = tokio::time::timeout(HEAD_TIME, served).await;
            } else {
                served.await;
            }
        });
    }

    async fn serve(
        &self,
        stream: TcpStream,
        connection: Arc<Connection>,
        over: bool,
        stop: Shutdown,
    ) {
        // An event must not wait for the acknowledgement of the one before. When that cannot be
        // set the peer is already gone, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let mut first = [0];
        let first_byte = stream.peek(&mut first);
        if !matches!(tokio::time::timeout(HEAD_TIME, first_byte).await, Ok(Ok(1))) {
            return;
        }
        let router = self.router.clone();
        let peer = self.hub.peer();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&connection));
            request.extensions_mut().insert(peer.clone());
            if over {
                request.extensions_mut().insert(OverLimit);
            }
            // Boxed, so that it leaves nothing behind in the stream that it answers with.
            Box::pin(answered(router.clone(), request.map(Body::new)))
        });
        let wire = Wire::new(stream);
        let mut driver = Driver::new(wire.clone());
        let http = http(driver.streams());
        let mut served = pin!(http.serve_connection_with_upgrades(wire, service));
        let is_leaving = Arc::new(AtomicBool::new(false));
        driver.streams().execute(farewell(stop, Arc::clone(&is_leaving)));
        // What ends a connection (a reset, a broken request) is the peer's doing and its alone.
        poll_fn(|context| {
            let ended = driver.poll(context, served.as_mut());
            if ended.is_pending() && is_leaving.swap(false, Ordering::Relaxed) {
                served.as_mut().graceful_shutdown();
                driver.ring();
            }
            ended
        })
        .await;
    }
}

/// Polled beside the streams of a connection, when there is something to do.
async fn farewell(mut stop: Shutdown, is_leaving: Arc<AtomicBool>) {
    stop.wait().await;
    // The driver of Fauna v4 for Python takes what comes behind HTTP/2's goodbye for an error: streams
    // say theirs first.
    tokio::time::sleep(FAREWELL).await;
    is_leaving.store(true, Ordering::Relaxed);
}

/// A handler that panics answers 500.
async fn answered(router: Router, request: Request<Body>) -> Result<Response, Infallible> {
    let handled = faults::handled("a request", async {
        faults::pass(Point::Handler);
        router.oneshot(request).await
    });
    handled.await.unwrap_or_else(|| {
        let fault = Refusal::new(Reason::Internal, "a fault of the server");
        Ok(refusal(&fault))
    })
}

/// How HTTP is spoken.
fn http(streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER)
        // What waits for a reader is kept as it was handed over, shared with other streams. Otherwise it is
        // copied into a buffer of each connection's own, which grows to 64 KB and stays.
        .writev(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    builder
}

/// One of the connections that are open.
#[derive(Debug)]
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
