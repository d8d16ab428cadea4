//! A connection, and what its peer may take of the server by it: time in which it asks nothing, bytes that ask
//! for nothing, answers that it does not take.
//!
//! Guarantees that a connection ends when its peer lets a limit pass, and that its place is free then. Runs in
//! the task of the connection; it never waits itself.
//!
//! - [`times`]: until when something must be asked; [`sending`]: answers that are not taken
//! - [`floods`]: what asks for nothing; [`socket`]: where that is counted

mod floods;
mod sending;
mod socket;
mod times;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use event_source_door::limits::Limits;
use hyper::body::Incoming;
use tokio::time::Instant;

use self::floods::Floods;
pub(crate) use self::sending::{Answer, Stall, Watching};
use self::sending::{Heard, Sent};
pub(crate) use self::socket::Socket;
use self::times::Times;
use crate::log::{self, Kind};
use crate::peer::Peer;
use crate::places::Place;
use crate::shutdown::Busy;

/// A connection counts as a client, and the stop waits for it, as long as somebody holds this: a WebSocket
/// does when HTTP is done with it.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: Peer,
    place: Place,
    send_time: Duration,
    times: Times,
    floods: Floods,
    /// Of HTTP/1.1, which sends one answer at a time.
    sent: Arc<Sent>,
    /// Of the request of HTTP/2 that gets its stream next.
    next: Mutex<Option<Arc<Sent>>>,
    _busy: Busy,
}

/// A request in progress: until its answer has been given or given up.
#[derive(Debug)]
pub(crate) struct Asked {
    connection: Arc<Connection>,
    sent: Arc<Sent>,
    is_answered: AtomicBool,
}

impl Connection {
    pub(crate) fn new(peer: Peer, place: Place, limits: &Limits, busy: Busy) -> Arc<Self> {
        Arc::new(Self {
            peer,
            place,
            send_time: limits.send_time(),
            times: Times::new(limits.head_time(), limits.idle_time()),
            floods: Floods::default(),
            sent: Arc::default(),
            next: Mutex::default(),
            _busy: busy,
        })
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// How long a peer may take nothing of what is sent to it.
    pub(crate) fn send_time(&self) -> Duration {
        self.send_time
    }

    /// A whole head of a request has come. HTTP/2 makes its stream next.
    pub(crate) fn asked(self: &Arc<Self>, is_old: bool) -> Arc<Asked> {
        self.times.begin(is_old);
        self.floods.asked();
        let sent = if is_old {
            Arc::clone(&self.sent)
        } else {
            let sent = Arc::<Sent>::default();
            *self.next() = Some(Arc::clone(&sent));
            sent
        };
        Arc::new(Asked { connection: Arc::clone(self), sent, is_answered: AtomicBool::new(false) })
    }

    /// Something was sent for which the peer may well send something back.
    pub(crate) fn said(&self, bytes: usize) {
        self.floods.said(bytes);
    }

    /// When to look again.
    ///
    /// # Errors
    /// The connection is to be ended; by which limit.
    pub(crate) fn look(&self) -> Result<Instant, Kind> {
        if self.floods.is_over() {
            return Err(Kind::Flood);
        }
        self.times.look(Instant::now())
    }

    /// Whether what was said when to look no longer holds.
    pub(crate) fn looks_sooner(&self) -> bool {
        self.times.has_hurry() || self.floods.is_over()
    }

    fn next(&self) -> MutexGuard<'_, Option<Arc<Sent>>> {
        self.next.lock().expect("no holder of this lock panics")
    }
}

impl Asked {
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The body of the request, whose bytes were asked for.
    pub(crate) fn heard(self: &Arc<Self>, body: Incoming) -> Heard {
        Heard::new(body, Arc::clone(self))
    }

    /// To be called when its answer is there.
    pub(crate) fn answered(&self) {
        self.is_answered.store(true, Relaxed);
        self.connection.floods.answered();
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.connection.times.end();
        if !self.is_answered.load(Relaxed) && self.connection.floods.cancelled() {
            log::closed(Kind::Flood, self.connection.peer);
        }
    }
}
