//! The server's requests, each answered in a transaction of its own.
//!
//! What reads the network can only ask what is here: open a stream, read on, a page of a feed.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use event_source_door::message::{
    Access, Batch, Opened, RequestId, SourceId, StartAt, ToServer, ToWorker, Wire,
};
use event_source_model::event::Page;
use event_source_model::position::Position;
use event_source_model::query::Ask;
use event_source_model::source::{Source, Start};
use pgrx::prelude::*;

use super::sources::Sources;
use super::tail::Tailer;
use crate::error::{Error, Kind, Result};
use crate::feed::{read, request};
use crate::matching::Evaluator;
use crate::order::reading::Reading;
use crate::pg::transaction;
use crate::rows::snapshot;
use crate::{query, settings, source};

/// Rights of open sources are looked at again at most this often.
const RECHECK: Duration = Duration::from_secs(1);
/// What one batch of a snapshot's rows may take.
const ROWS: Duration = Duration::from_millis(20);
/// Sources looked at again in one turn, so that the tail is not kept waiting.
const RECHECKED_AT_ONCE: usize = 200;

/// Something changed that may take a source's rights: a role, a membership, a table's ACL.
static RIGHTS_CHANGED: AtomicBool = AtomicBool::new(false);

/// Answers the server; one for each server that is started.
#[derive(Debug)]
pub struct Answerer {
    pub sources: Sources,
    rechecked: Instant,
    to_recheck: Vec<SourceId>,
}

impl Answerer {
    pub fn new() -> Self {
        watch_rights();
        Self { sources: Sources::new(), rechecked: Instant::now(), to_recheck: Vec::new() }
    }

    /// Answers one request.
    pub fn answer(&mut self, request: ToWorker, tailer: &Tailer, out: &mut Vec<ToServer>) {
        let (number, answer) = match request {
            // Heard before; neither wants an answer.
            ToWorker::Hello { .. } | ToWorker::Streams(_) => return,
            ToWorker::Close { source } => return self.sources.close(source),
            ToWorker::Open { request, access, start } => {
                let opened = self.open(&access, &start, tailer);
                (request, opened.map(|opened| ToServer::Opened { request, opened }))
            }
            ToWorker::Read { request, source, from, limit } => {
                let batch = self.read(source, from, limit, tailer);
                (request, batch.map(|batch| ToServer::Batch { request, batch }))
            }
            ToWorker::Query { request, secret, ask } => (request, query(request, &ask, &secret)),
            ToWorker::Page { request, access, start, page_size } => {
                let page = page(&access, &start, page_size);
                (request, page.map(|page| ToServer::Page { request, page }))
            }
        };
        out.push(answer.unwrap_or_else(|error| refused(number, error)));
    }

    fn open(&mut self, access: &Access, start: &StartAt, tailer: &Tailer) -> Result<Opened> {
        let published = tailer.published();
        let sources = &mut self.sources;
        transaction::run(|| {
            let reading = Reading::begin()?;
            let source = opened(access)?;
            let position = request::position(&source, start, reading.closed)?;
            check_not_before(access.wire, &source, &position)?;
            check_not_over(&source, &position, published)?;
            let skip = position.skipping.is_some();
            // Before it counts as a stream: one that is refused is never closed.
            let view = source::view(&source.definition)?;
            let id = sources.open(&source.definition, published)?;
            let registered = sources.get(id).expect("opened just now");
            Ok(Opened {
                source: id,
                view,
                start: if skip {
                    source.start.clone()
                } else {
                    Start { closed: position.txn_ts, seen: Vec::new() }
                },
                position,
                matched_since: registered.matched_since,
                expires: source.expires,
            })
        })
    }

    fn read(&self, id: SourceId, from: Position, limit: u32, tailer: &Tailer) -> Result<Batch> {
        let Some(registered) = self.sources.get(id) else {
            return Err(Error::new(Kind::SourceGone, "the event source has ended"));
        };
        let definition = &registered.definition;
        transaction::run(|| {
            let _reading = Reading::begin()?;
            if from.rows_behind().is_some() {
                let part = snapshot::read(definition, &from, limit.max(1), ROWS)?;
                let (events, position) = (part.events, part.position);
                return Ok(Batch { events, position, live: false, error: None });
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
            })
        })
    }

    /// Ends all sources.
    pub fn end_all(&mut self, error: &Error, out: &mut Vec<ToServer>) {
        let all: Vec<SourceId> = self.sources.iter().map(|(id, _)| id).collect();
        for source in all {
            self.sources.end(source);
            out.push(ToServer::Ended { source, refusal: error.clone().into() });
        }
    }

    /// Looks again at the rights of open sources after something changed, a slice at a time.
    pub fn recheck(&mut self, out: &mut Vec<ToServer>) {
        if self.to_recheck.is_empty() && self.rechecked.elapsed() >= RECHECK {
            self.rechecked = Instant::now();
            self.sources.sweep();
            if RIGHTS_CHANGED.swap(false, Relaxed) {
                self.to_recheck = self.sources.iter().map(|(id, _)| id).collect();
            }
        }
        if self.to_recheck.is_empty() {
            return;
        }
        let slice = self.to_recheck.len().saturating_sub(RECHECKED_AT_ONCE);
        for id in self.to_recheck.split_off(slice) {
            let Some(registered) = self.sources.get(id) else { continue };
            let definition = registered.definition.clone();
            let checked = transaction::run(|| {
                let _reading = Reading::begin()?;
                source::check(&definition)
            });
            match checked {
                Ok(()) => {}
                // A look that failed says nothing about the rights; the next one will.
                Err(error) if error.kind == Kind::Corrupted => {
                    RIGHTS_CHANGED.store(true, Relaxed);
                }
                Err(error) => {
                    self.sources.end(id);
                    out.push(ToServer::Ended { source: id, refusal: error.into() });
                }
            }
        }
    }
}

/// A page of a feed.
fn page(access: &Access, start: &StartAt, page_size: u32) -> Result<Page> {
    transaction::run(|| {
        let source = {
            let _reading = Reading::begin()?;
            opened(access)?
        };
        request::page(&source, start, page_size)
    })
}

/// An answer to a query, or what is wrong with it.
fn query(request: RequestId, ask: &Ask, secret: &str) -> Result<ToServer> {
    transaction::run(|| {
        let role = source::secret_role(secret)?;
        Ok(match query::answer(ask, role, secret) {
            Ok(answered) => ToServer::Answered { request, answered },
            Err(failure) => ToServer::Failed { request, failure },
        })
    })
}

/// The source of a token that may be used.
fn opened(access: &Access) -> Result<Source> {
    if settings::require_secret() && access.secret.is_none() {
        return Err(Error::new(Kind::Unauthorized, "a secret is required beside the token")
            .hint("give a secret from event_source.create_secret as Bearer"));
    }
    source::open(&access.token, access.secret.as_deref())
}

/// Fauna's streams may not start before their token; its feeds may.
fn check_not_before(wire: Wire, source: &Source, position: &Position) -> Result<()> {
    if wire == Wire::V10 && position.txn_ts < source.start.closed {
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

/// Notices what may take rights away, once for each process.
fn watch_rights() {
    static WATCHING: AtomicBool = AtomicBool::new(false);
    if WATCHING.swap(true, Relaxed) {
        return;
    }
    use pg_sys::SysCacheIdentifier::{AUTHMEMMEMROLE, AUTHOID, RELOID};
    for cache in [AUTHOID, AUTHMEMMEMROLE, RELOID] {
        // SAFETY: the function lives as long as the library and only sets a flag.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(rights_changed),
                pg_sys::Datum::from(0),
            );
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rights_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    RIGHTS_CHANGED.store(true, Relaxed);
}
