//! What the hub's lock protects, and how the worker's messages change it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use event_source_door::message::{
    Access, First, GrantId, Opened, PageAsked, RequestId, SourceId, StartAt, ToServer, ToWorker,
};
use event_source_model::cost::Cost;
use event_source_model::event::{Page, Reason, Refusal, View};
use event_source_model::query::{Answered, Ask, Failure};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Hub, Subscription};
use super::memory::Memory;
use super::polls::Polls;
use super::renderer::{AtStop, Format};
use super::report::Report;
use super::shapes::Shapes;
use super::stream::{Phase, Stream, StreamId};
use super::table::Table;

/// What is answered to someone who asked.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// Where the parts of a page go; bounded by what a page may have.
pub(super) type Parts = mpsc::UnboundedSender<Result<PagePart, Refusal>>;

/// A part of a page.
#[derive(Debug)]
pub struct PagePart {
    pub page: Page,
    /// Another one follows.
    pub goes_on: bool,
}

/// A request that the worker has not answered yet.
#[derive(Debug)]
pub(super) enum Pending {
    Open {
        format: Format,
        reply: Reply<Subscription>,
    },
    Page {
        access: Access,
        parts: Parts,
    },
    /// Of a feed that is polled.
    Follow {
        access: Access,
    },
    Query {
        reply: Reply<Result<Answered, Failure>>,
    },
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

#[derive(Debug, Default)]
pub(super) struct State {
    /// What waits to be written to the worker. Bounded: a request is refused when `max_streams`
    /// are unanswered, a stream has at most one read, two batches more for it and one close in here,
    /// and there is at most one count of streams and one `Pong`.
    pub(super) outgoing: VecDeque<ToWorker>,
    last_request: RequestId,
    pub(super) pending: HashMap<RequestId, Pending>,
    /// Which stream waits for which batch.
    reads: HashMap<RequestId, StreamId>,
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

impl State {
    /// Asks the worker for a stream.
    pub(super) fn open(
        &mut self,
        access: Access,
        start: StartAt,
        before_token: bool,
        limit: Option<u32>,
        pending: Pending,
    ) {
        let request = self.number(pending);
        let first = limit.map(|limit| First { limit, remembered: self.memory.since() });
        self.outgoing.push_back(ToWorker::Open { request, access, start, before_token, first });
    }

    /// Asks the worker for a page.
    pub(super) fn page(&mut self, access: Access, start: StartAt, page: PageAsked, parts: Parts) {
        let request = self.number(Pending::Page { access: access.clone(), parts });
        self.outgoing.push_back(ToWorker::Page { request, access, start, page });
    }

    /// Asks the worker for the answer to a query.
    pub(super) fn query(&mut self, secret: Option<String>, ask: Ask, pending: Pending) {
        let request = self.number(pending);
        self.outgoing.push_back(ToWorker::Query { request, secret, ask });
    }

    /// Asks the worker for the next piece of the log that a stream needs.
    pub(super) fn read(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let (grant, from, limit) = (stream.grant, stream.position.clone(), stream.batch);
        let request = self.next_request();
        self.is_read(id, request);
        self.outgoing.push_back(ToWorker::Read { request, grant, from, limit });
    }

    /// The worker reads for a stream, and answers by that number.
    fn is_read(&mut self, id: StreamId, request: RequestId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let phase = Phase::Reading { request, left: stream.batch };
        stream.enter(phase, self.looked_at.get(&stream.collection));
        self.reads.insert(request, id);
    }

    /// Has the worker read on behind the batch that it is at, for a stream that is taken as fast as it comes:
    /// the worker would else wait until all of the batch is rendered and nearly all of it taken.
    pub(super) fn read_ahead(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let Phase::Reading { request, left } = &mut stream.phase else { return };
        let is_of_log = stream.position.rows_behind().is_none();
        if is_of_log && *left < stream.batch && stream.queue.has_room() {
            *left += stream.batch;
            let more = ToWorker::More { request: *request, limit: stream.batch };
            self.outgoing.push_back(more);
        }
    }

    pub(super) fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        self.last_request
    }

    fn number(&mut self, pending: Pending) -> RequestId {
        let request = self.next_request();
        self.pending.insert(request, pending);
        request
    }

    /// Handles what concerns streams and requests.
    pub(super) fn receive(
        &mut self,
        hub: &Arc<Hub>,
        message: ToServer,
        memory_limit: usize,
    ) -> Answer {
        match message {
            ToServer::Tail(tail) => self.tail(tail, memory_limit),
            ToServer::Forget => self.memory.forget(),
            ToServer::Batch { request, batch } => {
                let reads = &mut self.reads;
                let goes_on = batch.goes_on;
                let stream =
                    if goes_on { reads.get(&request).copied() } else { reads.remove(&request) };
                if let Some(stream) = stream {
                    self.batch(stream, batch);
                }
            }
            ToServer::Opened { request, opened } => return self.opened(hub, request, opened),
            ToServer::Page { request, page, goes_on } => {
                let parts = match self.pending.get(&request) {
                    Some(Pending::Page { parts, .. }) => parts.clone(),
                    _ => return Answer::None,
                };
                let is_at_end = !page.has_next && page.error.is_none();
                if !goes_on
                    && let Some(Pending::Page { access, .. }) = self.pending.remove(&request)
                    && is_at_end
                {
                    self.was_read_to_its_end(access, &page);
                }
                return Answer::Page(parts, Ok(PagePart { page, goes_on }));
            }
            ToServer::Polled { request } => {
                self.polls.is_up_to_date(request);
                self.ask_for_polls();
            }
            ToServer::Answered { request, answered } => {
                return self.answered(request, Ok(answered));
            }
            ToServer::Failed { request, failure } => return self.answered(request, Err(failure)),
            ToServer::Refused { request, refusal } => return self.refused(request, refusal),
            ToServer::Ended { source, refusal } => self.end_source(source, &refusal),
            ToServer::Lost { grant, refusal } => self.end_grant(grant, &refusal),
            ToServer::Ping => self.outgoing.push_back(ToWorker::Pong),
            ToServer::Welcome { .. } | ToServer::Config(_) | ToServer::Stop => {}
        }
        Answer::None
    }

    fn opened(&mut self, hub: &Arc<Hub>, request: RequestId, opened: Opened) -> Answer {
        let (source, grant, reads) = (opened.source, opened.grant, opened.reads);
        let (format, reply) = match self.pending.remove(&request) {
            Some(Pending::Open { format, reply }) => (format, reply),
            Some(Pending::Follow { access }) => {
                self.follows(&access, opened);
                return Answer::None;
            }
            _ => {
                self.outgoing.push_back(ToWorker::Close { grant });
                return Answer::None;
            }
        };
        let id = self.streams.insert(|id| Stream::new(id, opened, format.clone()));
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
            self.catch_up(id);
        }
        Answer::Opened(reply, subscription)
    }

    fn answered(&mut self, request: RequestId, answer: Result<Answered, Failure>) -> Answer {
        match self.pending.remove(&request) {
            Some(Pending::Query { reply }) => Answer::Query(reply, answer),
            _ => Answer::None,
        }
    }

    fn refused(&mut self, request: RequestId, refusal: Refusal) -> Answer {
        match self.pending.remove(&request) {
            Some(Pending::Open { reply, .. }) => return Answer::OpenRefused(reply, refusal),
            Some(Pending::Page { parts, .. }) => return Answer::Page(parts, Err(refusal)),
            Some(Pending::Query { reply }) => return Answer::QueryRefused(reply, refusal),
            Some(Pending::Follow { access }) => self.does_not_follow(&access),
            None => {}
        }
        self.polls.cannot_be_said(request);
        self.ask_for_polls();
        if let Some(stream) = self.reads.remove(&request) {
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
        self.outgoing.push_back(ToWorker::Close { grant: stream.grant });
    }

    /// A stream's queue has room again.
    pub(super) fn room(&mut self, id: StreamId) {
        match self.streams.get(id).map(|stream| stream.phase) {
            Some(Phase::Full) => self.catch_up(id),
            Some(Phase::Reading { .. }) => self.read_ahead(id),
            _ => {}
        }
    }

    /// The goodbye of a planned stop.
    pub(super) fn stop(&mut self, refusal: &Refusal) {
        self.pending.clear();
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

/// Why a stream ends when the time of its token, or of the credential beside it, is over.
fn expired() -> Refusal {
    Refusal::new(Reason::Unauthorized, "the event source or the credential has expired")
        .hint("get a new one, and go on behind the last cursor")
}
