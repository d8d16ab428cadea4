//! The server's requests, each answered in a transaction of its own.
//!
//! What reads the network can only ask what is here: open a stream, read on, a page of a feed.

use std::time::{Duration, Instant};

use event_source_door::message::{
    Access, Batch, GrantId, Opened, PageAsked, RequestId, SourceId, StartAt, ToServer, ToWorker,
};
use event_source_model::event::Page;
use event_source_model::position::Position;
use event_source_model::query::Ask;
use event_source_model::source::{Source, Start};

use super::grants;
use super::review::Part;
use super::rights;
use super::sources::Sources;
use super::tail::Tailer;
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

    /// Answers one request.
    pub fn answer(&mut self, request: ToWorker, tailer: &Tailer, out: &mut Vec<ToServer>) {
        let (number, answer) = match request {
            // Heard before; neither wants an answer.
            ToWorker::Hello { .. } | ToWorker::Streams(_) => return,
            ToWorker::Close { grant } => return self.sources.close(grant),
            ToWorker::Open { request, access, start, before_token } => {
                let opened = self.open(&access, &start, before_token, tailer);
                (request, opened.map(|opened| ToServer::Opened { request, opened }))
            }
            ToWorker::Read { request, grant, from, limit } => {
                let batch = self.read(grant, from, limit, tailer, out);
                (request, batch.map(|batch| ToServer::Batch { request, batch }))
            }
            ToWorker::Query { request, secret, ask } => {
                // While nobody follows anything, nothing is told.
                let told = self.sources.are_followed().then(|| tailer.closed());
                (request, query(request, &ask, secret.as_deref(), told))
            }
            ToWorker::Page { request, access, start, page } => {
                let page = answer_page(&access, &start, page);
                (request, page.map(|page| ToServer::Page { request, page }))
            }
        };
        out.push(answer.unwrap_or_else(|error| refused(number, error)));
    }

    fn open(
        &mut self,
        access: &Access,
        start: &StartAt,
        before_token: bool,
        tailer: &Tailer,
    ) -> Result<Opened> {
        let published = tailer.published();
        let sources = &mut self.sources;
        transaction::run(|| {
            let reading = Reading::begin()?;
            let epoch = rights::epoch();
            let credential = credential(access)?;
            let source = source::open(&access.token, credential.as_ref())?;
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
            let (id, grant) = sources.open(&source, credential, epoch, published)?;
            let registered = sources.get(id).expect("opened just now");
            Ok(Opened {
                source: id,
                grant,
                view,
                start: if skip {
                    source.start.clone()
                } else {
                    Start { closed: position.txn_ts, seen: Vec::new() }
                },
                position,
                matched_since: registered.matched_since,
                expires: source.expires,
                collection: source.definition.collection,
            })
        })
    }

    fn read(
        &mut self,
        grant: GrantId,
        from: Position,
        limit: u32,
        tailer: &Tailer,
        out: &mut Vec<ToServer>,
    ) -> Result<Batch> {
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
                let part = match snapshot::read(definition, &from, limit.max(1), ROWS) {
                    // The server asks again a little later.
                    Err(error) if error.kind == Kind::Contended => snapshot::Part::none(from),
                    read => read?,
                };
                let snapshot::Part { events, position, cost } = part;
                return Ok(Batch { events, position, live: false, error: None, cost });
            }
            let mut evaluator = Evaluator::open(definition)?;
            let limits = read::Limits::of_slice(limit.max(1));
            // The server skips what the token's statement saw; see `Opened::start`.
            let closed = tailer.published();
            let chunk = read::read(&mut evaluator, definition, None, from, closed, limits)?;
            Ok(Batch {
                events: chunk.events,
                position: chunk.position,
                live: !chunk.has_next && chunk.error.is_none(),
                error: chunk.error,
                cost: chunk.cost,
            })
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

/// A page of a feed.
fn answer_page(access: &Access, start: &StartAt, asked: PageAsked) -> Result<Page> {
    transaction::run(|| {
        let (source, credential) = {
            let _reading = Reading::begin()?;
            let credential = credential(access)?;
            (source::open(&access.token, credential.as_ref())?, credential)
        };
        let page = match asked.time_ms.map(u64::from) {
            None => request::page(&source, start, asked.size),
            Some(ms) => {
                let size = asked.size.min(request::LARGEST_PAGE);
                let time = Duration::from_millis(ms).min(LONGEST_PIECE);
                let limits = read::Limits::of_page(size).within(time);
                request::page_of(&source, start, limits)
            }
        }?;
        // What was committed while it was read is in it as well.
        rights::hear();
        source::check(&source.definition)?;
        source::check_still(source.id, credential.as_ref(), &source.definition)?;
        Ok(page)
    })
}

/// An answer to a query, or what is wrong with it.
fn query(
    request: RequestId,
    ask: &Ask,
    secret: Option<&str>,
    told: Option<i64>,
) -> Result<ToServer> {
    transaction::run(|| {
        let role = match secret {
            Some(secret) => Credential::read(secret)?.acting()?.role,
            None => source::anonymous_role()?,
        };
        Ok(match query::answer(ask, role, told) {
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
    let (from, limits) = (position.clone(), read::Limits::of_slice(1));
    let chunk = read::read(&mut evaluator, &source.definition, skip, from, published, limits)?;
    let is_over = chunk.events.is_empty() && chunk.error.is_some();
    if is_over { Err(source::schema_break()) } else { Ok(()) }
}

fn refused(request: RequestId, error: Error) -> ToServer {
    ToServer::Refused { request, refusal: error.into() }
}
