//! One task for a connection and all its streams.
//!
//! HTTP/2 has a future for each stream. As tasks of their own they would meet at the connection's lock from
//! several threads, and each event would be a wake-up for each stream. Here they are polled with the
//! connection, in passes: every stream that is ready once, then the connection, then what they wrote is sent
//! in one write. So what a stream gives in one pass leaves before it is asked for more.

use std::fmt::{self, Debug};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use hyper::rt::Executor;

use crate::faults;
use crate::wire::Wire;

/// After so many passes it is the others' turn.
const PASSES: usize = 4;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the streams of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Streams(Arc<Calls>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.lock().begun.push(Begun(Box::pin(stream)));
        self.0.ring();
    }
}

/// Who wants to be polled.
#[derive(Debug, Default)]
struct Calls {
    waiting: Mutex<Waiting>,
    task: AtomicWaker,
    /// The task polls at the moment, and looks again before it stops.
    is_polling: AtomicBool,
    /// Something waits; the task knows it, or is polling.
    is_rung: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    begun: Vec<Begun>,
    /// Numbers of streams, each once.
    ready: Vec<usize>,
}

struct Begun(Stream);

impl Debug for Begun {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Begun")
    }
}

impl Calls {
    fn ring(&self) {
        if !self.is_rung.swap(true, SeqCst) && !self.is_polling.load(SeqCst) {
            self.task.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        faults::lock(&self.waiting)
    }
}

/// Wakes one of the streams, or the connection.
#[derive(Debug)]
struct Bell {
    calls: Arc<Calls>,
    /// `None` is the connection.
    stream: Option<usize>,
    is_rung: AtomicBool,
}

impl Bell {
    fn new(calls: &Arc<Calls>, stream: Option<usize>) -> Arc<Self> {
        Arc::new(Self { calls: Arc::clone(calls), stream, is_rung: AtomicBool::new(false) })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.swap(true, SeqCst) {
            if let Some(stream) = self.stream {
                self.calls.lock().ready.push(stream);
            }
            self.calls.ring();
        }
    }
}

struct Slot {
    stream: Stream,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Polls a connection and its streams.
pub(crate) struct Driver {
    wire: Wire,
    calls: Arc<Calls>,
    connection: Arc<Bell>,
    waker: Waker,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    /// The list of the last pass, empty.
    spare: Vec<usize>,
}

impl Driver {
    pub(crate) fn new(wire: Wire) -> Self {
        let calls = Arc::new(Calls::default());
        let connection = Bell::new(&calls, None);
        connection.is_rung.store(true, SeqCst);
        let waker = Waker::from(Arc::clone(&connection));
        Self {
            wire,
            calls,
            connection,
            waker,
            slots: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// What HTTP gives its streams to.
    pub(crate) fn streams(&self) -> Streams {
        Streams(Arc::clone(&self.calls))
    }

    /// Something was done to the connection from outside.
    pub(crate) fn ring(&self) {
        self.connection.wake_by_ref();
    }

    /// Until the connection is over: `None` when its socket broke. Its streams end with it. To be called
    /// with the same connection each time.
    pub(crate) fn poll<C: Future>(
        &mut self,
        context: &mut Context<'_>,
        mut connection: Pin<&mut C>,
    ) -> Poll<Option<C::Output>> {
        self.calls.task.register(context.waker());
        self.calls.is_polling.store(true, SeqCst);
        for _ in 0..PASSES {
            self.calls.is_rung.store(false, SeqCst);
            let ended = match self.pass(connection.as_mut()) {
                Ok(ended) => ended.map(Some),
                Err(_) => Poll::Ready(None),
            };
            if ended.is_ready() {
                return ended;
            }
            if !self.calls.is_rung.load(SeqCst) {
                break;
            }
        }
        self.calls.is_polling.store(false, SeqCst);
        if self.calls.is_rung.load(SeqCst) {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// # Errors
    /// The socket broke.
    fn pass<C: Future>(&mut self, connection: Pin<&mut C>) -> io::Result<Poll<C::Output>> {
        self.wire.hold();
        let mut ready = std::mem::take(&mut self.spare);
        let begun = {
            let mut waiting = self.calls.lock();
            std::mem::swap(&mut waiting.ready, &mut ready);
            std::mem::take(&mut waiting.begun)
        };
        for number in ready.drain(..) {
            self.poll_stream(number);
        }
        self.spare = ready;
        for Begun(stream) in begun {
            let number = self.place(stream);
            self.poll_stream(number);
        }
        let mut context = Context::from_waker(&self.waker);
        // A stream that has just written has rung for it, too.
        let ended = if self.connection.is_rung.swap(false, SeqCst) {
            connection.poll(&mut context)
        } else {
            Poll::Pending
        };
        self.wire.send(&mut context)?;
        Ok(ended)
    }

    fn place(&mut self, stream: Stream) -> usize {
        let number = self.free.pop().unwrap_or(self.slots.len());
        let bell = Bell::new(&self.calls, Some(number));
        let slot = Some(Slot { stream, waker: Waker::from(Arc::clone(&bell)), bell });
        match self.slots.get_mut(number) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        number
    }

    fn poll_stream(&mut self, number: usize) {
        // One that has ended may still be rung for.
        let Some(slot) = &mut self.slots[number] else { return };
        slot.bell.is_rung.store(false, SeqCst);
        let mut context = Context::from_waker(&slot.waker);
        // Its request fails, and nothing else of the connection.
        let polled = faults::caught("a request", || slot.stream.as_mut().poll(&mut context));
        if polled.is_none_or(|polled| polled.is_ready()) {
            self.slots[number] = None;
            self.free.push(number);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A stream holds what it came by; one that never got a turn would hold itself.
        self.calls.lock().begun.clear();
    }
}

impl Debug for Driver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Driver").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}
