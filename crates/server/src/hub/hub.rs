//! The hub as the door and the routes see it: a lock around the state, and requests that wait.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_source_door::message::{Access, Config, PageAsked, StartAt, ToServer, ToWorker};
use event_source_model::bounds::Scales;
use event_source_model::event::{LARGEST_PAGE, Reason, Refusal};
use event_source_model::position::Cursor;
use event_source_model::query::{Answered, Ask, Failure, Span};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::queue::{Next, Queue};
use super::renderer::{Format, Pace};
use super::state::{Answer, PagePart, Pending, State};
use super::stream::{FIRST_BATCH, StreamId};
use crate::clock;
use crate::shutdown::{self, Shutdown};

/// A worker that answers later than this is as good as away.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What connects the worker's door with the clients.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Something waits to be written to the worker.
    outgoing: Notify,
    config: watch::Sender<Arc<Config>>,
    stop: shutdown::Trigger,
}

impl Hub {
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            outgoing: Notify::new(),
            config: watch::Sender::new(Arc::new(config)),
            stop: shutdown::Trigger::default(),
        })
    }

    /// The settings now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// Becomes true when the worker says goodbye.
    pub fn shutdown(&self) -> Shutdown {
        self.stop.watch()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The worker's refusal, or the server's own when it is stopping or full.
    pub async fn open(
        &self,
        access: Access,
        start: StartAt,
        format: Format,
    ) -> Result<Subscription, Refusal> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            let open = state.streams.len() + state.pending.len();
            self.admit(open)?;
            let before_token = format.may_start_before_token();
            let pending = Pending::Open { format, reply };
            state.open(access, start, before_token, Some(FIRST_BATCH), pending);
        }
        self.outgoing.notify_one();
        answered(answer).await
    }

    /// One page of a feed.
    ///
    /// # Errors
    /// The server's own refusal; the worker's comes with the first part.
    pub async fn page(
        &self,
        access: Access,
        start: StartAt,
        asked: PageAsked,
    ) -> Result<PageParts, Refusal> {
        if let Some(page) = self.recalled(&access, &start, asked.size).await {
            return Ok(PageParts::Whole(Some(Box::new(page))));
        }
        let (parts, coming) = mpsc::unbounded_channel();
        {
            let mut state = self.lock();
            self.admit(state.pending.len())?;
            state.page(access, start, asked, parts);
        }
        self.outgoing.notify_one();
        Ok(PageParts::Coming(coming))
    }

    /// A page that memory has, once the worker has said that nothing is missing there.
    async fn recalled(&self, access: &Access, start: &StartAt, size: u32) -> Option<PagePart> {
        let StartAt::Cursor(from) = start else { return None };
        let from = Cursor::decode(from).ok().filter(|_| (1..=LARGEST_PAGE).contains(&size))?;
        let said = self.lock().poll(access, &from)?;
        self.outgoing.notify_one();
        tokio::time::timeout(ANSWER_TIME, said).await.ok()?.ok()?;
        let recalled = self.lock().recall(access, &from)?;
        Some(PagePart { page: recalled.page(size), goes_on: false })
    }

    /// The answer to a query, or what is wrong with it.
    ///
    /// # Errors
    /// As [`Hub::open`].
    pub async fn query(
        &self,
        secret: Option<String>,
        ask: Ask,
    ) -> Result<Result<Answered, Failure>, Refusal> {
        if let Err(too) = Scales::check(&ask) {
            return Ok(Err(too.at(Span::default())));
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            self.admit(state.pending.len())?;
            state.query(secret, ask, Pending::Query { reply });
        }
        self.outgoing.notify_one();
        answered(answer).await
    }

    /// Handles a message of the worker. Must be called in the order in which they came.
    pub fn receive(self: &Arc<Self>, message: ToServer) {
        match message {
            ToServer::Config(config) => {
                self.config.send_replace(Arc::new(config));
            }
            ToServer::Stop => self.stop(),
            message => {
                let limit = self.config.borrow().tail_memory_bytes as usize;
                let (answer, readers, is_asked) = {
                    let mut state = self.lock();
                    let answer = state.receive(self, message, limit);
                    (answer, std::mem::take(&mut state.readers), !state.outgoing.is_empty())
                };
                readers.into_iter().for_each(Waker::wake);
                hand_out(answer);
                // Most tails ask the worker for nothing: its writer need not wake up for each.
                if is_asked {
                    self.outgoing.notify_one();
                }
            }
        }
    }

    /// What is to be written to the worker next, once there is something.
    pub async fn outgoing(&self) -> Vec<ToWorker> {
        loop {
            let messages: Vec<ToWorker> = self.lock().outgoing.drain(..).collect();
            if !messages.is_empty() {
                return messages;
            }
            self.outgoing.notified().await;
        }
    }

    /// What time alone brings about; to be called several times in a status interval.
    pub fn tick(&self) {
        let interval = Duration::from_millis(self.config.borrow().status_interval_ms);
        self.lock().tick(clock::now(), interval);
        self.outgoing.notify_one();
    }

    /// Everything up to here has been handed out; `None` before the first tail.
    pub fn closed(&self) -> Option<i64> {
        self.lock().memory.closed()
    }

    /// The worker has said goodbye.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_pulled()
    }

    fn stop(&self) {
        self.stop.pull();
        self.lock().stop(&stopping());
    }

    fn admit(&self, load: usize) -> Result<(), Refusal> {
        if self.stop.is_pulled() {
            return Err(stopping());
        }
        if load >= self.config.borrow().max_streams as usize {
            return Err(Refusal::new(Reason::LimitExceeded, "too many streams")
                .hint("event_source.max_streams limits them; try again later"));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic under the hub's lock has ended the process's work")
    }
}

/// The parts of a page as they come, so that one is rendered while the worker reads the next.
#[derive(Debug)]
pub enum PageParts {
    /// From the worker.
    Coming(mpsc::UnboundedReceiver<Result<PagePart, Refusal>>),
    /// From memory; `None` once it was taken.
    Whole(Option<Box<PagePart>>),
}

impl PageParts {
    /// The next part. There is one until one says that none follows.
    ///
    /// # Errors
    /// The worker's refusal, or that it does not answer.
    pub async fn next(&mut self) -> Result<PagePart, Refusal> {
        let coming = match self {
            Self::Coming(coming) => coming,
            Self::Whole(page) => return page.take().map(|page| *page).ok_or_else(stopping),
        };
        match tokio::time::timeout(ANSWER_TIME, coming.recv()).await {
            Ok(part) => part.unwrap_or_else(|| Err(stopping())),
            Err(_) => Err(no_answer()),
        }
    }
}

/// A stream as its reader holds it. Dropping it closes the stream.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    id: StreamId,
    queue: Arc<Queue>,
    format: Format,
}

impl Subscription {
    pub(super) fn new(hub: Arc<Hub>, id: StreamId, queue: Arc<Queue>, format: Format) -> Self {
        Self { hub, id, queue, format }
    }

    /// What happens between two of its frames.
    pub fn pace(&self) -> Pace {
        self.format.pace()
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// The next chunk, or the end. A reader that is patient waits until a frame is full.
    pub fn poll_next(&self, context: &Context<'_>, is_patient: bool) -> Poll<Next> {
        let (next, room) = self.queue.poll(context, self.format.frame(), is_patient);
        if room {
            self.hub.lock().room(self.id);
            self.hub.outgoing.notify_one();
        }
        next
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.lock().remove(self.id);
        self.hub.outgoing.notify_one();
    }
}

async fn answered<T>(answer: oneshot::Receiver<Result<T, Refusal>>) -> Result<T, Refusal> {
    match tokio::time::timeout(ANSWER_TIME, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(stopping()),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> Refusal {
    Refusal::new(Reason::Unavailable, "the worker does not answer")
}

/// The receiver of an answer may have gone away: then there is nobody to tell, and the answer is
/// dropped here, where the lock is free.
fn hand_out(answer: Answer) {
    match answer {
        Answer::None => {}
        Answer::Opened(reply, subscription) => drop(reply.send(Ok(subscription))),
        Answer::Page(parts, part) => drop(parts.send(part)),
        Answer::Query(reply, answer) => drop(reply.send(Ok(answer))),
        Answer::OpenRefused(reply, refusal) => drop(reply.send(Err(refusal))),
        Answer::QueryRefused(reply, refusal) => drop(reply.send(Err(refusal))),
    }
}

fn stopping() -> Refusal {
    Refusal::new(Reason::Unavailable, "the server is stopping")
        .hint("connect again with the cursor")
}
