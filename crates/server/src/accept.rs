//! Accepts connections and speaks HTTP/1.1 or HTTP/2 on them, told apart by their first bytes.
//!
//! It guarantees that a connection over the limit gets a clear refusal rather than silence, that each ends when
//! its peer lets a limit pass, and that a failure to accept (no descriptor left) is waited out rather than spun
//! on.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use event_source_door::limits::Limits;
use event_source_model::event::{Reason, Refusal};
use hyper::body::Incoming;
use hyper::rt::Executor as _;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt as _;

use crate::answer::refusal;
use crate::connection::{Answer, Connection, Socket, Stall, Watching};
use crate::drive::Driver;
use crate::faults::{self, Point};
use crate::hub::Hub;
use crate::log::{self, Kind};
use crate::peer::Peer;
use crate::places::{Over, Places};
use crate::shutdown::{Busy, Shutdown};
use crate::wire::Wire;

/// HTTP/2 peers are asked this often whether they are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long streams have to say why they end before their connection does.
const FAREWELL: Duration = Duration::from_millis(50);
/// How long an idle peer has to close after it was told to.
const GOODBYE: Duration = Duration::from_secs(2);
/// What HTTP/2 holds for a stream beside our own queue; its default of 400 kB is too much for many.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams of HTTP/2 that break its rules, over the life of a connection.
const BROKEN_STREAMS: usize = 1024;
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// What all listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    hub: Arc<Hub>,
    router: Router,
    places: Places,
    /// Held until the last connection has ended.
    busy: Busy,
}

impl Acceptor {
    pub(crate) fn new(hub: Arc<Hub>, router: Router, busy: Busy) -> Self {
        Self { hub, router, places: Places::default(), busy }
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
                Ok((stream, from)) => {
                    backoff = Duration::from_millis(10);
                    faults::caught("a connection", || self.admit(stream, from.ip()));
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

    fn admit(&self, stream: TcpStream, from: IpAddr) {
        faults::pass(Point::Accept);
        let config = self.hub.config();
        let peer = Peer::of(from);
        let limits = &config.limits;
        let of_address = limits.max_clients_per_address.limit(peer.is_loopback());
        let place = match self.places.take(peer, config.max_clients, of_address) {
            Ok(place) => place,
            Err(Over::Clients) => return log::closed(Kind::Clients, peer),
            Err(Over::ClientsOfAddress) => return log::closed(Kind::ClientsOfAddress, peer),
        };
        let is_over = place.over().is_some();
        let connection = Connection::new(peer, place, limits, self.busy.clone());
        let this = self.clone();
        tokio::spawn(async move {
            faults::pass(Point::Connection);
            let stop = this.hub.shutdown();
            let limits = &config.limits;
            let served = this.serve(stream, connection, limits, stop);
            if is_over {
                // A refusal or the answer to a health check is all that such a connection is for.
                let _ = tokio::time::timeout(limits.head_time(), served).await;
            } else if let Some(kind) = served.await {
                log::closed(kind, peer);
            }
        });
    }

    /// Until the connection is over; the limit that ended it, if one did.
    async fn serve(
        &self,
        stream: TcpStream,
        connection: Arc<Connection>,
        limits: &Limits,
        stop: Shutdown,
    ) -> Option<Kind> {
        let wire = Wire::new(Socket::new(stream, Arc::clone(&connection), limits));
        let mut driver = Driver::new(wire.clone());
        let http = http(Watching::new(driver.streams(), Arc::clone(&connection)), limits);
        let router = self.router.clone();
        let asking = Arc::clone(&connection);
        let accounts = self.hub.peer();
        let service = service_fn(move |request: Request<Incoming>| {
            let is_old = request.version() < Version::HTTP_2;
            let asked = asking.asked(is_old);
            let mut request = request.map(|body| Body::new(asked.heard(body)));
            request.extensions_mut().insert(Arc::clone(&asked));
            request.extensions_mut().insert(accounts.clone());
            let answered = answered(router.clone(), request);
            // Boxed, so that it leaves nothing behind in the stream that it answers with.
            Box::pin(async move {
                let Ok(response) = answered.await;
                asked.answered();
                Ok::<_, Infallible>(response.map(|body| Answer::new(body, asked)))
            })
        });
        let mut served = pin!(http.serve_connection_with_upgrades(wire, service));
        let is_leaving = Arc::new(AtomicBool::new(false));
        driver.streams().execute(farewell(stop, Arc::clone(&is_leaving)));
        let mut stall = Stall::default();
        let mut looks = pin!(sleep_until(Instant::now() + limits.head_time()));
        let mut is_told = false;
        // What ends a connection (a reset, a broken request) is the peer's doing and its alone.
        poll_fn(|context| {
            if driver.poll(context, served.as_mut()).is_ready() {
                return Poll::Ready(None);
            }
            if is_leaving.swap(false, Ordering::Relaxed) {
                served.as_mut().graceful_shutdown();
                driver.ring();
            }
            if connection.looks_sooner() {
                looks.as_mut().reset(Instant::now());
            }
            while looks.as_mut().poll(context).is_ready() {
                match connection.look() {
                    Ok(until) => looks.as_mut().reset(until),
                    Err(Kind::Idle) if !is_told => {
                        is_told = true;
                        served.as_mut().graceful_shutdown();
                        driver.ring();
                        looks.as_mut().reset(Instant::now() + GOODBYE);
                    }
                    // Neither is worth a line: the one is as it should be, of the other there is one.
                    Err(Kind::Idle | Kind::Flood) => return Poll::Ready(None),
                    Err(kind) => return Poll::Ready(Some(kind)),
                }
            }
            stall.poll(context, &connection).map(|()| Some(Kind::Send))
        })
        .await
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
fn http(streams: Watching, limits: &Limits) -> Builder<Watching> {
    let mut builder = Builder::new(streams);
    let head = limits.max_head_size;
    let mut one = builder.http1();
    one
        // `Connection` has the time of it.
        .header_read_timeout(None)
        // Of a request's head, and of a stream whose reader takes nothing; the default is 400 kB.
        .max_buf_size(head as usize)
        // What waits for a reader is kept as it was handed over, shared with other streams. Otherwise it is
        // copied into a buffer of each connection's own, which grows to 64 KB and stays.
        .writev(true);
    if limits.max_headers != Limits::DEFAULT.max_headers {
        // For its own default HTTP has room without asking for memory.
        one.max_headers(limits.max_headers as usize);
    }
    let streams = limits.max_streams_per_connection;
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(head)
        .max_concurrent_streams(streams)
        // A client may cancel all that it has asked for at once; see also `connection::floods`.
        .max_pending_accept_reset_streams(streams as usize)
        .max_local_error_reset_streams(BROKEN_STREAMS)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    builder
}

/// Whether the connection failed rather than the listener.
fn is_the_peers(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
