//! The hub as the door and the routes see it: a lock around the state, and requests that wait.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_source_door::message::{Access, Config, PageAsked, StartAt, ToServer, ToWorker};
use event_source_model::bounds::Scales;
use event_source_model::event::{LARGEST_PAGE, Reason, Refusal};
use event_source_model::position::Cursor;
use event_source_model::query::{Answered, Ask, Constant, Failure, Span};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::outgoing::{Class, class_of, class_of_secret};
use super::queue::{Asked, Next, Queue};
use super::recover::About;
use super::renderer::{Format, Pace};
use super::state::{Answer, PagePart, Pending, State, no_room};
use super::stream::{FIRST_BATCH, StreamId};
use crate::budget::{Budget, Peer, Purse};
use crate::clock;
use crate::credentials;
use crate::faults::{self, Point};
use crate::jwts::Jwts;
use crate::shutdown::{self, Shutdown};

/// A worker that answers later than this is as good as away.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// About the memory of an event; of a page before any of it has come; and of an answer.
const EVENT: usize = 256;
const PAGE: (usize, usize) = (16 * 1024, 1024 * 1024);
const ANSWER: usize = 16 * 1024;
/// Requests of a class that may always wait.
const FEW: usize = 64;
/// A question that is longer is not read for strangers.
const LARGE: usize = 16 * 1024;
/// Decoded, a query takes so many times what it weighs.
const QUERY: usize = 3;

/// What connects the worker's door with the clients.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Something waits to be written to the worker.
    outgoing: Notify,
    config: watch::Sender<Arc<Config>>,
    budget: Budget,
    jwts: Jwts,
    stop: shutdown::Trigger,
}

impl Hub {
    pub fn new(config: Config) -> Arc<Self> {
        let budget = Budget::new(config.server_memory_bytes);
        let jwts = Jwts::of(&config.jwt_key);
        Arc::new(Self {
            state: Mutex::new(State::new(budget.clone())),
            outgoing: Notify::new(),
            config: watch::Sender::new(Arc::new(config)),
            budget,
            jwts,
            stop: shutdown::Trigger::default(),
        })
    }

    /// The settings now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// What JWTs are judged by.
    pub(crate) fn jwts(&self) -> &Jwts {
        &self.jwts
    }

    /// The accounts of a connection.
    pub fn peer(&self) -> Peer {
        self.budget.peer()
    }

    /// Counts a page that the peer is sent.
    pub(crate) fn page_purse(&self, peer: &Peer, access: &Access) -> Purse {
        peer.purse(self.lock().owner(class_of(access)))
    }

    /// Counts what is nobody's.
    pub(crate) fn purse(&self) -> Purse {
        self.budget.purse()
    }

    /// Becomes true when the worker says goodbye.
    pub fn shutdown(&self) -> Shutdown {
        self.stop.watch()
    }

    /// Opens a stream, which is read on the connection of that peer.
    ///
    /// # Errors
    /// The worker's refusal, or the server's own when it is stopping or full.
    pub async fn open(
        &self,
        peer: &Peer,
        access: Access,
        start: StartAt,
        format: Format,
    ) -> Result<Subscription, Refusal> {
        credentials::look_at(self, &access)?;
        self.has_memory()?;
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            let open = state.streams.len() + state.pending.len();
            self.admit(&state, open, class_of(&access))?;
            let before_token = format.may_start_before_token();
            let (account, class) = (peer.account().clone(), class_of(&access));
            let has_turn = state.begin_turn(&account);
            let pending = Pending::Open { format, reply, account, class, has_turn };
            state.open(access, start, before_token, Some(FIRST_BATCH), pending);
        }
        self.outgoing.notify_one();
        answered(answer).await
    }

    /// One page of a feed, counted in that purse. It is asked for when there is room for it: when what was answered
    /// before has been read.
    ///
    /// # Errors
    /// The worker's refusal, or the server's own.
    pub async fn page(
        &self,
        purse: &Purse,
        access: Access,
        start: StartAt,
        asked: PageAsked,
    ) -> Result<PageParts, Refusal> {
        credentials::look_at(self, &access)?;
        self.has_memory()?;
        let until = Instant::now() + ANSWER_TIME;
        let mut about = (asked.size as usize).saturating_mul(EVENT).clamp(PAGE.0, PAGE.1);
        loop {
            timeout_at(until, purse.wait_for(about)).await.map_err(|_| no_room())?;
            if let Some(page) = self.recalled(&access, &start, asked.size).await {
                purse.turn(about, page.bytes);
                return Ok(PageParts { first: Some(page), coming: None });
            }
            let (parts, mut coming) = mpsc::unbounded_channel();
            {
                let mut state = self.lock();
                self.admit(&state, state.pending.len(), class_of(&access))?;
                state.page(access.clone(), start.clone(), asked, parts, purse.clone());
            }
            self.outgoing.notify_one();
            let first = timeout_at(until, coming.recv()).await;
            purse.turn(about, 0);
            match first.map_err(|_| no_answer())? {
                Some(part) => {
                    return Ok(PageParts { first: Some(part?), coming: Some(coming) });
                }
                None if self.stop.is_pulled() => return Err(stopping()),
                // Others were faster. It is of more than was thought.
                None => about = about.saturating_mul(16).min(PAGE.1 * 64),
            }
        }
    }

    /// A page that memory has, once the worker has said that nothing is missing there.
    async fn recalled(&self, access: &Access, start: &StartAt, size: u32) -> Option<PagePart> {
        let StartAt::Cursor(from) = start else { return None };
        let from = Cursor::decode(from).ok().filter(|_| (1..=LARGEST_PAGE).contains(&size))?;
        let said = self.lock().poll(access, &from)?;
        self.outgoing.notify_one();
        tokio::time::timeout(ANSWER_TIME, said).await.ok()?.ok()?;
        let recalled = self.lock().recall(access, &from)?;
        let page = recalled.page(size);
        Some(PagePart { bytes: page.events.bytes(), page, goes_on: false })
    }

    /// The answer to a query, and what counts it, or what is wrong with the query.
    ///
    /// # Errors
    /// As [`Hub::open`].
    pub async fn query(
        &self,
        peer: &Peer,
        secret: Option<String>,
        ask: Ask,
    ) -> Result<Result<(Answered, Purse), Failure>, Refusal> {
        credentials::of_query(self, secret.as_deref())?;
        self.has_memory()?;
        let weight = match Scales::weigh(&ask) {
            Ok(weight) => weight,
            Err(too) => return Ok(Err(too.at(Span::default()))),
        };
        let purse = peer.purse(self.lock().owner(class_of_secret(secret.as_deref())));
        let about = ANSWER + QUERY * weight;
        let room = tokio::time::timeout(ANSWER_TIME, purse.wait_for(about));
        room.await.map_err(|_| no_room())?;
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            let class = class_of_secret(secret.as_deref());
            self.admit(&state, state.pending.len(), class)?;
            let pending = Pending::Query { reply, purse: purse.clone() };
            state.query(secret, ask, pending, weight);
        }
        self.outgoing.notify_one();
        Ok(answered(answer).await?.map(|answered| (answered, purse)))
    }

    /// Has the worker say whether somebody may ask at all, before much is done for them.
    ///
    /// # Errors
    /// They may not, or it cannot be said.
    pub async fn vouch(&self, peer: &Peer, secret: Option<String>) -> Result<(), Refusal> {
        match self.query(peer, secret, Ask::Constant(Constant::Null)).await? {
            Ok(_) => Ok(()),
            Err(failure) => Err(Refusal::new(Reason::Unauthorized, failure.message)),
        }
    }

    /// The same, when what they ask is large: reading that costs more than asking.
    ///
    /// # Errors
    /// As [`Hub::vouch`].
    pub async fn vouch_for(
        &self,
        peer: &Peer,
        secret: Option<&str>,
        asked: &[u8],
    ) -> Result<(), Refusal> {
        credentials::of_query(self, secret)?;
        if asked.len() <= LARGE {
            return Ok(());
        }
        self.vouch(peer, secret.map(str::to_owned)).await
    }

    /// Handles a message of the worker, which came in so many bytes. Must be called in the order in which they came.
    pub fn receive(self: &Arc<Self>, message: ToServer, bytes: usize) {
        match message {
            ToServer::Config(config) => {
                self.budget.limit(config.server_memory_bytes);
                self.jwts.set(&config.jwt_key);
                self.config.send_replace(Arc::new(config));
            }
            ToServer::Stop => self.stop(),
            message => {
                let limit = {
                    let config = self.config.borrow();
                    config.tail_memory_bytes.min(config.server_memory_bytes / 4) as usize
                };
                let about = About::of(&message);
                let handled = faults::caught("a message of the worker", || {
                    let mut state = self.lock();
                    faults::pass(Point::Message);
                    state.shed();
                    let answer = state.receive(self, message, bytes, limit);
                    state.go_on();
                    (answer, std::mem::take(&mut state.readers), state.outgoing.is_due())
                });
                let (answer, readers, is_asked) = handled.unwrap_or_else(|| {
                    let mut state = self.lock();
                    (state.recover(about), std::mem::take(&mut state.readers), true)
                });
                readers.into_iter().for_each(Waker::wake);
                hand_out(answer);
                // Most tails ask the worker for nothing: its writer need not wake up for each.
                if is_asked {
                    self.outgoing.notify_one();
                }
            }
        }
    }

    /// A message could not be sent: the request fails. Nothing else is ever too long.
    pub(crate) fn cannot_send(&self, message: &ToWorker) {
        let request = match message {
            ToWorker::Open { request, .. }
            | ToWorker::Read { request, .. }
            | ToWorker::Page { request, .. }
            | ToWorker::Poll { request, .. }
            | ToWorker::Query { request, .. } => *request,
            ToWorker::Hello { .. }
            | ToWorker::More { .. }
            | ToWorker::Close { .. }
            | ToWorker::Streams(_)
            | ToWorker::Confined { .. }
            | ToWorker::Pong => return,
        };
        let answer = self.lock().recover(About::Request(request));
        hand_out(answer);
    }

    /// What is to be written to the worker next, once there is something.
    pub async fn outgoing(&self) -> Vec<ToWorker> {
        loop {
            let messages = self.lock().take_for_worker();
            if !messages.is_empty() {
                return messages;
            }
            self.outgoing.notified().await;
        }
    }

    /// What time alone brings about; to be called several times in a status interval.
    pub fn tick(&self) {
        let interval = Duration::from_millis(self.config.borrow().status_interval_ms);
        faults::caught("a look at what time brings", || {
            let mut state = self.lock();
            faults::pass(Point::Tick);
            state.shed();
            state.tick(clock::now(), interval);
            state.go_on();
        });
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

    /// At the ceiling nothing begins: those who hold most are being ended.
    fn has_memory(&self) -> Result<(), Refusal> {
        if self.budget.is_full() {
            return Err(Refusal::new(Reason::Unavailable, "the server is short of memory")
                .hint("event_source.server_memory limits it; try again later"));
        }
        Ok(())
    }

    /// Whether one more may be asked of the worker, where so many are open or wait already.
    fn admit(&self, state: &State, load: usize, class: Class) -> Result<(), Refusal> {
        if self.stop.is_pulled() {
            return Err(stopping());
        }
        let most = self.config.borrow().max_streams as usize;
        if load >= most {
            return Err(Refusal::new(Reason::LimitExceeded, "too many streams")
                .hint("event_source.max_streams limits them; try again later"));
        }
        // Those who come together, or without a credential, leave room for others.
        if state.outgoing.waiting(class) >= (most / 2).max(FEW) {
            return Err(Refusal::new(Reason::LimitExceeded, "too many requests wait")
                .hint("try again later"));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn state_for_tests(&self) -> MutexGuard<'_, State> {
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        faults::lock(&self.state)
    }
}

/// The parts of a page as they come, so that one is rendered while the worker reads the next.
#[derive(Debug)]
pub struct PageParts {
    first: Option<PagePart>,
    /// The others; `None` when the page is from memory.
    coming: Option<mpsc::UnboundedReceiver<Result<PagePart, Refusal>>>,
}

impl PageParts {
    /// The next part. There is one until one says that none follows. The first one is there already.
    ///
    /// # Errors
    /// The worker's refusal, that it does not answer, or that there is no room for more: then the page ends here.
    pub async fn next(&mut self) -> Result<PagePart, Refusal> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let Some(coming) = &mut self.coming else { return Err(stopping()) };
        match tokio::time::timeout(ANSWER_TIME, coming.recv()).await {
            Ok(part) => part.unwrap_or_else(|| Err(no_room())),
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
        self.poll(context, is_patient, false)
    }

    /// The same, a long chunk in pieces: what is not on its way yet can be counted, and given up.
    pub(crate) fn poll_piece(&self, context: &Context<'_>, is_patient: bool) -> Poll<Next> {
        self.poll(context, is_patient, true)
    }

    fn poll(&self, context: &Context<'_>, is_patient: bool, in_pieces: bool) -> Poll<Next> {
        let asked = Asked { merged: self.format.frame(), is_patient, in_pieces };
        let (next, room) = self.queue.poll(context, asked);
        if room {
            let mut state = self.hub.lock();
            state.room(self.id);
            state.go_on();
            drop(state);
            self.hub.outgoing.notify_one();
        }
        next
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        {
            let mut state = self.hub.lock();
            state.remove(self.id);
            state.go_on();
        }
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
