//! What the hub's lock protects, and how the worker's messages change it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Waker;

use event_source_door::message::{
    Access, Batch, GrantId, Opened, RequestId, SourceId, ToServer, ToWorker,
};
use event_source_model::cost::Cost;
use event_source_model::event::{Page, Reason, Refusal, View};
use event_source_model::events::Events;
use event_source_model::query::{Answered, Failure};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Hub, Subscription};
use super::memory::Memory;
use super::outgoing::{Class, Outgoing};
use super::owners::Owners;
use super::polls::Polls;
use super::renderer::{AtStop, Format};
use super::report::Report;
use super::shapes::Shapes;
use super::shed::Looked;
use super::stream::{Of, Phase, Stream, StreamId};
use super::table::Table;
use super::turns::Turns;
use crate::budget::{Account, Budget, Purse};

/// What is answered to someone who asked.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// Where the parts of a page go; bounded by what a page may have. Cut off when there is no room for a part.
pub(super) type Parts = mpsc::UnboundedSender<Result<PagePart, Refusal>>;

/// A part of a page.
#[derive(Debug)]
pub struct PagePart {
    pub page: Page,
    /// Another one follows.
    pub goes_on: bool,
    /// What is counted for it.
    pub(super) bytes: usize,
}

impl PagePart {
    /// The part once it was written behind `before` bytes: without its events, which are not held any more.
    pub fn written(mut self, purse: &Purse, before: usize, after: usize) -> (Page, bool) {
        self.page.events = Events::default();
        purse.turn(self.bytes, after - before);
        (self.page, self.goes_on)
    }
}

/// A request that the worker has not answered yet.
#[derive(Debug)]
pub(super) enum Pending {
    Open {
        format: Format,
        reply: Reply<Subscription>,
        /// Of the connection.
        account: Account,
        class: Class,
        /// It has a turn to be read from the log.
        has_turn: bool,
    },
    Page {
        access: Access,
        parts: Parts,
        /// What comes is counted in it.
        purse: Purse,
    },
    /// Of a feed that is polled.
    Follow { access: Access },
    Query {
        reply: Reply<Result<Answered, Failure>>,
        /// The answer is counted in it.
        purse: Purse,
    },
}

impl Pending {
    /// Whether somebody still waits for the answer.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Self::Open { reply, .. } => !reply.is_closed(),
            Self::Page { parts, .. } => !parts.is_closed(),
            Self::Follow { .. } => true,
            Self::Query { reply, .. } => !reply.is_closed(),
        }
    }
}

/// An answer to hand out once the lock is gone: handing it to nobody drops it, and a dropped
/// subscription takes the lock.
#[must_use]
#[derive(Debug)]
pub(super) enum Answer {
    None,
    Opened(Reply<Subscription>, Subscription),
    Page(Parts, Result<PagePart, Refusal>),
    Query(Reply<Result<Answered, Failure>>, Result<Answered, Failure>),
    OpenRefused(Reply<Subscription>, Refusal),
    QueryRefused(Reply<Result<Answered, Failure>>, Refusal),
}

/// The streams of one source.
#[derive(Debug)]
pub(super) struct Followers {
    /// As the worker last described it: all its streams are shown the same.
    pub(super) view: Arc<View>,
    pub(super) formats: HashMap<Format, BTreeSet<StreamId>>,
}

#[derive(Debug)]
pub(super) struct State {
    /// What waits to be written to the worker. Bounded: a request is refused when `max_streams`
    /// are unanswered, a stream has at most one read, two batches more for it and one close in here,
    /// and there is at most one count of streams and one `Pong`.
    pub(super) outgoing: Outgoing,
    last_request: RequestId,
    pub(super) pending: HashMap<RequestId, Pending>,
    /// Which stream waits for which batch.
    pub(super) reads: HashMap<RequestId, StreamId>,
    pub(super) turns: Turns,
    /// Connections on which a turn, or room, may be free.
    pub(super) freed: Vec<Account>,
    pub(super) budget: Budget,
    pub(super) owners: Owners,
    pub(super) looked: Looked,
    pub(super) streams: Table,
    pub(super) followers: HashMap<SourceId, Followers>,
    /// The streams that were opened by the same.
    grants: HashMap<GrantId, BTreeSet<StreamId>>,
    pub(super) memory: Memory,
    pub(super) polls: Polls,
    /// By collection: what was evaluated of the tail since the server began.
    pub(super) looked_at: HashMap<u64, Cost>,
    pub(super) shapes: Shapes,
    /// Those who wait for what was just queued. Woken once the lock is gone, all together: one that is woken
    /// before its connection's other streams have theirs writes by itself, and they again.
    pub(super) readers: Vec<Waker>,
    pub(super) report: Report,
}

/// What comes for a stream or a page whether there is room for it or not: no more than its queue may have.
const SMALL: usize = 64 * 1024;

impl State {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            outgoing: Outgoing::default(),
            last_request: 0,
            pending: HashMap::new(),
            reads: HashMap::new(),
            turns: Turns::default(),
            freed: Vec::new(),
            looked: Looked::default(),
            memory: Memory::new(budget.purse()),
            budget,
            owners: Owners::default(),
            streams: Table::default(),
            followers: HashMap::new(),
            grants: HashMap::new(),
            polls: Polls::default(),
            looked_at: HashMap::new(),
            shapes: Shapes::default(),
            readers: Vec::new(),
            report: Report::default(),
        }
    }

    pub(super) fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        self.last_request
    }

    pub(super) fn number(&mut self, pending: Pending) -> RequestId {
        let request = self.next_request();
        self.pending.insert(request, pending);
        request
    }

    /// Handles what concerns streams and requests. The message came in so many bytes.
    pub(super) fn receive(
        &mut self,
        hub: &Arc<Hub>,
        message: ToServer,
        bytes: usize,
        memory_limit: usize,
    ) -> Answer {
        match message {
            ToServer::Tail(tail) => self.tail(tail, memory_limit),
            ToServer::Forget => self.memory.forget(),
            ToServer::Batch { request, batch } => {
                if !batch.goes_on {
                    self.outgoing.is_answered(request);
                }
                self.batch_came(request, batch, bytes);
            }
            ToServer::Opened { request, opened } => return self.opened(hub, request, opened),
            ToServer::Page { request, page, goes_on } => {
                if !goes_on {
                    self.outgoing.is_answered(request);
                }
                return self.page_came(request, page, goes_on, bytes);
            }
            ToServer::Polled { request } => {
                self.polls.is_up_to_date(request);
                self.ask_for_polls();
            }
            ToServer::Answered { request, answered } => {
                return self.answered(request, Ok(answered), bytes);
            }
            ToServer::Failed { request, failure } => {
                return self.answered(request, Err(failure), bytes);
            }
            ToServer::Refused { request, refusal } => return self.refused(request, refusal),
            ToServer::Ended { source, refusal } => self.end_source(source, &refusal),
            ToServer::Lost { grant, refusal } => self.end_grant(grant, &refusal),
            ToServer::Ping => self.outgoing.tell(ToWorker::Pong),
            ToServer::Welcome { .. } | ToServer::Config(_) | ToServer::Stop => {}
        }
        Answer::None
    }

    /// A batch, or a part of one. When there is no room for it, it is left in the log, with all that follows it.
    fn batch_came(&mut self, request: RequestId, batch: Batch, bytes: usize) {
        let Some(id) = self.reads.get(&request).copied() else { return };
        let is_over = !batch.goes_on;
        let Some(stream) = self.streams.get_mut(id) else { return };
        let connection = stream.queue.account().clone();
        let has_room = connection.has_room() && stream.owner.has_room_for(bytes);
        let fits = bytes <= SMALL || has_room;
        stream.needs = if fits { 0 } else { bytes };
        if is_over || !fits {
            self.read_is_over(request);
        }
        if fits {
            self.batch(id, batch);
        } else {
            self.read(id);
        }
        if is_over || !fits {
            self.freed.push(connection);
        }
    }

    /// A part of a page. When there is no room for it, the page ends before it.
    fn page_came(&mut self, request: RequestId, page: Page, goes_on: bool, bytes: usize) -> Answer {
        let Some(Pending::Page { parts, purse, .. }) = self.pending.get(&request) else {
            return Answer::None;
        };
        if !purse.has_room(bytes) && bytes > SMALL {
            self.pending.remove(&request);
            return Answer::None;
        }
        purse.add(bytes);
        let parts = parts.clone();
        let is_at_end = !page.has_next && page.error.is_none();
        if !goes_on
            && let Some(Pending::Page { access, .. }) = self.pending.remove(&request)
            && is_at_end
        {
            self.was_read_to_its_end(access, &page);
        }
        Answer::Page(parts, Ok(PagePart { page, goes_on, bytes }))
    }

    fn opened(&mut self, hub: &Arc<Hub>, request: RequestId, opened: Opened) -> Answer {
        let (source, grant, reads) = (opened.source, opened.grant, opened.reads);
        if !reads {
            self.outgoing.is_answered(request);
        }
        let (format, reply, account, class, has_turn) = match self.pending.remove(&request) {
            Some(Pending::Open { format, reply, account, class, has_turn }) => {
                (format, reply, account, class, has_turn)
            }
            Some(Pending::Follow { access }) => {
                self.follows(&access, opened);
                return Answer::None;
            }
            _ => {
                self.outgoing.tell(ToWorker::Close { grant });
                return Answer::None;
            }
        };
        let owner = self.owner(role_class(opened.role));
        let of = Of { connection: account.clone(), owner, class };
        let id = self.streams.insert(|id| Stream::new(id, opened, format.clone(), of));
        let stream = self.streams.get(id).expect("it was just added");
        let subscription =
            Subscription::new(Arc::clone(hub), id, Arc::clone(&stream.queue), format.clone());
        let view = Arc::clone(&stream.view);
        let followers = self
            .followers
            .entry(source)
            .or_insert_with(|| Followers { view: Arc::clone(&view), formats: HashMap::new() });
        followers.view = view;
        followers.formats.entry(format).or_default().insert(id);
        self.grants.entry(grant).or_default().insert(id);
        if reads {
            self.is_read(id, request);
        } else {
            if has_turn {
                self.turns.end(account.id());
            }
            self.catch_up(id);
            self.freed.push(account);
        }
        Answer::Opened(reply, subscription)
    }

    fn answered(
        &mut self,
        request: RequestId,
        answer: Result<Answered, Failure>,
        bytes: usize,
    ) -> Answer {
        self.outgoing.is_answered(request);
        match self.pending.remove(&request) {
            Some(Pending::Query { reply, purse }) => {
                if !purse.has_room(bytes) && bytes > SMALL {
                    return Answer::QueryRefused(reply, no_room());
                }
                purse.add(bytes);
                Answer::Query(reply, answer)
            }
            _ => Answer::None,
        }
    }

    pub(super) fn refused(&mut self, request: RequestId, refusal: Refusal) -> Answer {
        self.outgoing.is_answered(request);
        match self.pending.remove(&request) {
            Some(Pending::Open { reply, account, has_turn, .. }) => {
                if has_turn {
                    self.turns.end(account.id());
                    self.freed.push(account);
                }
                return Answer::OpenRefused(reply, refusal);
            }
            Some(Pending::Page { parts, .. }) => return Answer::Page(parts, Err(refusal)),
            Some(Pending::Query { reply, .. }) => return Answer::QueryRefused(reply, refusal),
            Some(Pending::Follow { access }) => self.does_not_follow(&access),
            None => {}
        }
        self.polls.cannot_be_said(request);
        self.ask_for_polls();
        if let Some(stream) = self.read_is_over(request) {
            self.end(stream, &refusal);
        }
        Answer::None
    }

    fn end_source(&mut self, source: SourceId, refusal: &Refusal) {
        self.polls.forget(|of, _| of == source);
        let Some(followers) = self.followers.get(&source) else { return };
        let ids: Vec<StreamId> = followers.formats.values().flatten().copied().collect();
        for id in ids {
            self.end(id, refusal);
        }
    }

    fn end_grant(&mut self, grant: GrantId, refusal: &Refusal) {
        self.polls.forget(|_, by| by == grant);
        for id in self.grants.get(&grant).cloned().unwrap_or_default() {
            self.end(id, refusal);
        }
    }

    /// Ends streams whose time is over.
    pub(super) fn end_over(&mut self, ids: Vec<StreamId>) {
        for id in ids {
            self.end(id, &expired());
        }
    }

    /// Says why, in the protocol's way, and ends a stream.
    pub(super) fn end(&mut self, id: StreamId, refusal: &Refusal) {
        if let Some(stream) = self.streams.get(id) {
            stream.end(refusal);
            self.remove(id);
        }
    }

    /// Forgets a stream, whose queue its body may still be reading.
    pub(super) fn remove(&mut self, id: StreamId) {
        if let Some(Stream { phase: Phase::Reading { request, .. }, .. }) = self.streams.get(id) {
            self.read_is_over(*request);
        }
        let Some(stream) = self.streams.remove(id) else { return };
        if let Some(followers) = self.followers.get_mut(&stream.source) {
            if let Some(ids) = followers.formats.get_mut(&stream.format) {
                ids.remove(&id);
            }
            followers.formats.retain(|_, ids| !ids.is_empty());
            if followers.formats.is_empty() {
                self.followers.remove(&stream.source);
            }
        }
        if let Some(ids) = self.grants.get_mut(&stream.grant) {
            ids.remove(&id);
            if ids.is_empty() {
                self.grants.remove(&stream.grant);
            }
        }
        self.outgoing.tell(ToWorker::Close { grant: stream.grant });
        self.freed.push(stream.queue.account().clone());
    }

    /// A stream's queue has room again, or its connection has.
    pub(super) fn room(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let account = stream.queue.account().clone();
        match stream.phase {
            Phase::Full if stream.queue.has_room() => self.catch_up(id),
            Phase::Reading { .. } => self.read_ahead(id),
            _ => {}
        }
        self.freed.push(account);
    }

    /// The goodbye of a planned stop.
    pub(super) fn stop(&mut self, refusal: &Refusal) {
        self.pending.clear();
        self.reads.clear();
        self.turns = Turns::default();
        self.polls = Polls::default();
        for stream in self.streams.drain() {
            match stream.format.at_stop() {
                AtStop::Told => stream.end(refusal),
                AtStop::Cut => stream.cut(),
            }
        }
        self.followers.clear();
        self.grants.clear();
    }
}

/// What a role owns is not mixed up with what a credential does.
fn role_class(role: u32) -> Class {
    Class::from(role) << 32
}

/// Why there is no answer: what waits to be sent leaves no room for it.
pub(super) fn no_room() -> Refusal {
    Refusal::new(Reason::LimitExceeded, "too much waits to be read by this client").hint(
        "read what was answered before, or try again later; event_source.server_memory limits it",
    )
}

/// Why a stream ends when the time of its token, or of the credential beside it, is over.
fn expired() -> Refusal {
    Refusal::new(Reason::Unauthorized, "the event source or the credential has expired")
        .hint("get a new one, and go on behind the last cursor")
}
