//! The server's requests, each answered in a transaction of its own.
//!
//! What reads the network can only ask what is here: open a stream, read on, a page of a feed.

use std::time::{Duration, Instant};

use event_source_door::message::{
    Access, Batch, First, GrantId, Opened, PageAsked, RequestId, SourceId, StartAt, ToServer,
    ToWorker,
};
use event_source_model::event::{LARGEST_PAGE, Page};
use event_source_model::position::Position;
use event_source_model::query::Ask;
use event_source_model::source::{Source, Start};

use super::grants;
use super::review::Part;
use super::rights;
use super::sources::Sources;
use super::tail::{self, Tailer};
use crate::error::{Error, Kind, Result};
use crate::feed::{read, request};
use crate::matching::Evaluator;
use crate::order::reading::Reading;
use crate::pg::transaction;
use crate::query;
use crate::rows::snapshot;
use crate::source::{self, Credential};

/// Rights of quiet streams are looked at again at most this often.
const RECHECK: Duration = Duration::from_secs(1);
/// How long in one turn, so that the tail is not kept waiting.
const SLICE: Duration = Duration::from_millis(2);
/// What one batch of a snapshot's rows may take.
const ROWS: Duration = Duration::from_millis(20);
/// A page that is asked for in pieces keeps the tail waiting no longer than this at once.
const LONGEST_PIECE: Duration = Duration::from_millis(100);

/// What the worker has to do for the server, in one turn.
#[derive(Debug)]
pub enum Task {
    Asked(ToWorker),
    /// What is left of a batch or a page that takes more than one turn.
    Batch(BatchLeft),
    Page(Box<PageLeft>),
    /// A look at the news that found more of them than one look takes.
    Poll(PollLeft),
}

impl From<ToWorker> for Task {
    fn from(request: ToWorker) -> Self {
        Self::Asked(request)
    }
}

#[derive(Debug)]
pub struct BatchLeft {
    pub(super) request: RequestId,
    pub(super) grant: GrantId,
    from: Position,
    pub(super) limits: read::Limits,
}

#[derive(Debug)]
pub struct PageLeft {
    request: RequestId,
    pub(super) access: Access,
    source: Source,
    /// Which signed the token.
    key: u32,
    credential: Option<Credential>,
    from: Position,
    limits: read::Limits,
}

#[derive(Debug)]
pub struct PollLeft {
    request: RequestId,
    grants: Vec<GrantId>,
    /// Where the looks must have come to, see [`tail::reach`].
    until: i64,
}

/// Answers the server; one for each server that is started.
#[derive(Debug)]
pub struct Answerer {
    pub sources: Sources,
    rechecked: Instant,
    /// What is left of the round.
    to_recheck: Vec<Part>,
}

impl Answerer {
    pub fn new() -> Self {
        rights::subscribe();
        Self { sources: Sources::new(), rechecked: Instant::now(), to_recheck: Vec::new() }
    }

    /// Does one task, or a part of it; gives back what is left.
    pub fn answer(
        &mut self,
        task: Task,
        tailer: &mut Tailer,
        out: &mut Vec<ToServer>,
    ) -> Option<Task> {
        match task {
            Task::Asked(ToWorker::Open { request, access, start, before_token, first }) => {
                match self.open(&access, &start, before_token, first, tailer) {
                    Ok(opened) => self.begin(request, opened, first, tailer, out),
                    Err(error) => {
                        out.push(refused(request, error));
                        None
                    }
                }
            }
            Task::Asked(ToWorker::Read { request, grant, from, limit }) => {
                let limits = read::Limits::of_batch(limit.max(1));
                self.batch(BatchLeft { request, grant, from, limits }, tailer, out)
            }
            Task::Batch(left) => self.batch(left, tailer, out),
            Task::Asked(ToWorker::Page { request, access, start, page }) => {
                page_answered(request, begin_page(request, access, &start, page), out)
            }
            Task::Page(left) => page_answered(left.request, go_on_with_page(*left), out),
            Task::Asked(ToWorker::Poll { request, grants }) => {
                self.poll(PollLeft { request, grants, until: tail::reach() }, tailer, out)
            }
            Task::Poll(left) => self.poll(left, tailer, out),
            Task::Asked(request) => {
                self.ask(request, tailer, out);
                None
            }
        }
    }

    /// Answers what takes one turn.
    fn ask(&mut self, request: ToWorker, tailer: &Tailer, out: &mut Vec<ToServer>) {
        let (number, answer) = match request {
            // Heard before; none wants an answer. The others take more than a turn.
            ToWorker::Hello { .. }
            | ToWorker::Streams(_)
            | ToWorker::Confined { .. }
            | ToWorker::Pong
            | ToWorker::More { .. }
            | ToWorker::Open { .. }
            | ToWorker::Read { .. }
            | ToWorker::Poll { .. }
            | ToWorker::Page { .. } => return,
            ToWorker::Close { grant } => return self.sources.close(grant),
            ToWorker::Query { request, secret, ask } => {
                // While nobody follows anything, nothing is told.
                let told = self.sources.are_followed().then(|| tailer.closed());
                (request, query(request, &ask, secret.as_deref(), told))
            }
        };
        out.push(answer.unwrap_or_else(|error| refused(number, error)));
    }

    fn open(
        &mut self,
        access: &Access,
        start: &StartAt,
        before_token: bool,
        first: Option<First>,
        tailer: &Tailer,
    ) -> Result<Opened> {
        let published = tailer.published();
        let sources = &mut self.sources;
        sources.check_room()?;
        // Before anything is begun for it.
        let credential = credential(access)?;
        transaction::run(|| {
            let reading = Reading::begin()?;
            let epoch = rights::epoch();
            let (source, key) = source::open(&access.token, credential.as_ref())?;
            let mut position = request::position(&source, start, reading.closed)?;
            // What another token's statement saw only that token knows.
            position.skipping.take_if(|token| *token != source.id);
            if !before_token {
                check_not_before(&source, &position)?;
            }
            check_not_over(&source, &position, published)?;
            let skip = position.skipping.is_some();
            // Before it counts as a stream: one that is refused is never closed.
            let view = source::view(&source.definition)?;
            let (id, grant) = sources.open((&source, key), credential, epoch, published)?;
            let matched_since = sources.get(id).expect("opened just now").matched_since;
            let reads = first.is_some_and(|first| {
                let remembered = first.remembered.map(|since| since.max(matched_since));
                let is_there = remembered.is_some_and(|since| since < position.first_needed());
                !is_there || position.rows_behind().is_some()
            });
            Ok(Opened {
                source: id,
                grant,
                role: source.definition.role.oid,
                view,
                start: if skip {
                    source.start.clone()
                } else {
                    Start { closed: position.txn_ts, seen: Vec::new() }
                },
                position,
                matched_since,
                expires: source.expires,
                collection: source.definition.collection,
                reads,
            })
        })
    }

    /// Tells of a stream that was opened, and reads what it begins with.
    fn begin(
        &mut self,
        request: RequestId,
        opened: Opened,
        first: Option<First>,
        tailer: &Tailer,
        out: &mut Vec<ToServer>,
    ) -> Option<Task> {
        let (grant, from) = (opened.grant, opened.position.clone());
        let reads = first.filter(|_| opened.reads);
        out.push(ToServer::Opened { request, opened });
        let limits = read::Limits::of_batch(reads?.limit.max(1));
        self.batch(BatchLeft { request, grant, from, limits }, tailer, out)
    }

    /// Sends what was closed when the question came, and says so.
    fn poll(
        &mut self,
        left: PollLeft,
        tailer: &mut Tailer,
        out: &mut Vec<ToServer>,
    ) -> Option<Task> {
        let request = left.request;
        match self.looked(&left, tailer, out) {
            Ok(true) => out.push(ToServer::Polled { request }),
            Ok(false) => return Some(Task::Poll(left)),
            Err(error) => out.push(refused(request, error)),
        }
        None
    }

    /// Whether everything up to the moment of the question has been sent, and the rights looked at.
    fn looked(
        &mut self,
        left: &PollLeft,
        tailer: &mut Tailer,
        out: &mut Vec<ToServer>,
    ) -> Result<bool> {
        let looked = tailer.look_for_news(&mut self.sources, out)?;
        if let Some(kind) = looked.failed {
            return Err(Error::new(kind, "the log cannot be read"));
        }
        if looked.more && tailer.closed() < left.until {
            return Ok(false);
        }
        let sources = &mut self.sources;
        transaction::run(|| {
            rights::hear();
            if sources.are_settled() {
                return Ok(true);
            }
            let _reading = Reading::begin()?;
            for &grant in &left.grants {
                if let Some(source) = sources.of(grant) {
                    sources.review(source, out)?;
                }
            }
            Ok(true)
        })
    }

    fn batch(&mut self, left: BatchLeft, tailer: &Tailer, out: &mut Vec<ToServer>) -> Option<Task> {
        let BatchLeft { request, grant, from, limits } = left;
        match self.read(grant, from, limits, tailer, out) {
            Ok((batch, left)) => {
                let from = batch.position.clone();
                out.push(ToServer::Batch { request, batch });
                left.map(|limits| Task::Batch(BatchLeft { request, grant, from, limits }))
            }
            Err(error) => {
                out.push(refused(request, error));
                None
            }
        }
    }

    fn read(
        &mut self,
        grant: GrantId,
        from: Position,
        limits: read::Limits,
        tailer: &Tailer,
        out: &mut Vec<ToServer>,
    ) -> Result<(Batch, Option<read::Limits>)> {
        let sources = &mut self.sources;
        transaction::run(|| {
            let _reading = Reading::begin()?;
            // What is read was committed before this; so was whatever took the right to read it.
            rights::hear();
            if let Some(source) = sources.of(grant) {
                sources.review(source, out)?;
            }
            let registered = sources.of(grant).and_then(|source| sources.get(source));
            let Some(registered) = registered else {
                return Err(Error::new(Kind::SourceGone, "the event source has ended"));
            };
            let definition = &registered.definition;
            if from.rows_behind().is_some() {
                let part = match snapshot::read(definition, &from, limits.events, ROWS) {
                    // The server asks again a little later.
                    Err(error) if error.kind == Kind::Contended => snapshot::Part::none(from),
                    read => read?,
                };
                let snapshot::Part { events, position, cost } = part;
                let (goes_on, live) = (false, false);
                let batch = Batch { events, position, goes_on, live, error: None, cost };
                return Ok((batch, None));
            }
            let mut evaluator = Evaluator::open(definition)?;
            // The server skips what the token's statement saw; see `Opened::start`.
            let closed = tailer.published();
            let slice = limits.slice();
            let chunk = read::read(&mut evaluator, definition, None, from, closed, slice)?;
            let left = limits.behind(&chunk);
            let batch = Batch {
                events: chunk.events,
                position: chunk.position,
                goes_on: left.is_some(),
                live: !chunk.has_next && chunk.error.is_none(),
                error: chunk.error,
                cost: chunk.cost,
            };
            Ok((batch, left))
        })
    }

    /// Ends all sources.
    pub fn end_all(&mut self, error: &Error, out: &mut Vec<ToServer>) {
        let all: Vec<SourceId> = self.sources.ids().collect();
        for source in all {
            self.sources.end(source);
            out.push(ToServer::Ended { source, refusal: error.clone().into() });
        }
    }

    /// Looks again at the rights of quiet streams after something changed, a slice at a time.
    pub fn recheck(&mut self, out: &mut Vec<ToServer>) {
        if !self.sources.are_in_round() {
            if self.rechecked.elapsed() < RECHECK {
                return;
            }
            self.rechecked = Instant::now();
            self.sources.sweep();
            if self.sources.are_settled() {
                return;
            }
            self.to_recheck = self.sources.begin_round();
        }
        let began = Instant::now();
        while began.elapsed() < SLICE {
            let Some(part) = self.to_recheck.pop() else { return self.sources.end_round() };
            let sources = &mut self.sources;
            if !sources.is_due(part) {
                continue;
            }
            let looked = transaction::run(|| {
                let _reading = Reading::begin()?;
                sources.look_at(part, out)
            });
            if looked.is_err() {
                // It was logged; the next round tries again.
                sources.spoil_round();
            }
        }
    }

    /// Whether there is more to look at, at once.
    pub fn is_rechecking(&self) -> bool {
        self.sources.are_in_round()
    }
}

/// The first part of a page of a feed.
fn begin_page(
    request: RequestId,
    access: Access,
    start: &StartAt,
    asked: PageAsked,
) -> Result<(Page, Option<Task>)> {
    // Before anything is begun for it.
    let credential = credential(&access)?;
    transaction::run(|| {
        let reading = Reading::begin()?;
        let (source, key) = source::open(&access.token, credential.as_ref())?;
        let limits = match asked.time_ms.map(u64::from) {
            None => {
                request::check_page_size(asked.size)?;
                read::Limits::of_page(asked.size)
            }
            Some(ms) => {
                let size = asked.size.min(LARGEST_PAGE);
                let time = Duration::from_millis(ms).min(LONGEST_PIECE);
                read::Limits::of_page(size).within(time)
            }
        };
        let from = request::position(&source, start, reading.closed)?;
        page_part(PageLeft { request, access, source, key, credential, from, limits }, &reading)
    })
}

fn go_on_with_page(left: PageLeft) -> Result<(Page, Option<Task>)> {
    transaction::run(|| page_part(left, &Reading::begin()?))
}

fn page_part(left: PageLeft, reading: &Reading) -> Result<(Page, Option<Task>)> {
    let PageLeft { request, access, source, key, credential, from, limits } = left;
    let (page, left) = request::page_behind(&source, from, reading.closed, limits, limits.slice())?;
    // What was committed while it was read is in it as well.
    rights::hear();
    source::check(&source.definition)?;
    source::check_still((source.id, key), credential.as_ref(), &source.definition)?;
    let from = page.position.clone();
    let left =
        left.map(|limits| PageLeft { request, access, source, key, credential, from, limits });
    Ok((page, left.map(|left| Task::Page(Box::new(left)))))
}

fn page_answered(
    request: RequestId,
    part: Result<(Page, Option<Task>)>,
    out: &mut Vec<ToServer>,
) -> Option<Task> {
    match part {
        Ok((page, left)) => {
            out.push(ToServer::Page { request, page, goes_on: left.is_some() });
            left
        }
        Err(error) => {
            out.push(refused(request, error));
            None
        }
    }
}

/// An answer to a query, or what is wrong with it.
fn query(
    request: RequestId,
    ask: &Ask,
    secret: Option<&str>,
    told: Option<i64>,
) -> Result<ToServer> {
    // Before anything is begun for it.
    let credential = secret.map(Credential::read).transpose()?;
    let is_known = credential.is_some();
    transaction::run(|| {
        let role = match credential {
            Some(credential) => credential.acting()?.role,
            None => source::anonymous_role()?,
        };
        Ok(match query::answer(ask, role, is_known, told) {
            Ok(answered) => ToServer::Answered { request, answered },
            Err(failure) => ToServer::Failed { request, failure },
        })
    })
}

/// The credential beside the token.
fn credential(access: &Access) -> Result<Option<Credential>> {
    let credential = access.secret.as_deref().map(Credential::read).transpose()?;
    grants::check_required(credential.as_ref())?;
    Ok(credential)
}

/// Fauna's streams may not start before their token; its feeds may.
fn check_not_before(source: &Source, position: &Position) -> Result<()> {
    if position.txn_ts < source.start.closed {
        return Err(Error::new(
            Kind::StartBeforeToken,
            "Stream start time can not be before the stream create time.",
        ));
    }
    Ok(())
}

/// Behind the last event before a schema break a stream would only say that once more, and a browser
/// would open it again and again: it stops at a refusal.
fn check_not_over(source: &Source, position: &Position, published: i64) -> Result<()> {
    if source.definition.generation >= source::generation_of(source.definition.collection)? {
        return Ok(());
    }
    let mut evaluator = Evaluator::open(&source.definition)?;
    let skip = read::Skip::of(source, position);
    let (from, limits) = (position.clone(), read::Limits::of_batch(1));
    let chunk = read::read(&mut evaluator, &source.definition, skip, from, published, limits)?;
    let is_over = chunk.events.is_empty() && chunk.error.is_some();
    if is_over { Err(source::schema_break()) } else { Ok(()) }
}

fn refused(request: RequestId, error: Error) -> ToServer {
    ToServer::Refused { request, refusal: error.into() }
}
