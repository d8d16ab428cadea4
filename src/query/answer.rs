//! An answer, part by part.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_source_model::bounds::Scales;
use event_source_model::event::{LARGEST_PAGE, View};
use event_source_model::image::Image;
use event_source_model::query::{
    Answer, Answered, Ask, EventSource, Failure, Fault, Name, Of, Order, Rows, Shown, Span, Test,
};
use event_source_model::source::{Definition, Set};
use pgrx::datum::Interval;
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};

use super::define::{self, Asked};
use super::named;
use super::version::Changes;
use crate::error::{Error, Kind};
use crate::order::reading::Reading;
use crate::pg::role::ActingAs;
use crate::rows::{self, Sorting};
use crate::source;

/// What one page may take, and then one query: the worker answers nobody else meanwhile. A page that is
/// not full by then says where to go on; what needs more than its pages is refused.
const PAGE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(500);
/// The same for those who give no credential, of whom there may be many.
const LONGEST_OF_NOBODY: Duration = PAGE;

/// Answers a query as a role, in a transaction, for somebody who has given a credential or not. What was committed up
/// to `told` is known to every follower.
///
/// # Errors
/// It names what is not there, what the role may not see, or it takes too long.
pub(crate) fn answer(
    ask: &Ask,
    role: pg_sys::Oid,
    is_known: bool,
    told: Option<i64>,
) -> Result<Answered, Failure> {
    // The server has weighed it, but the server is not trusted.
    Scales::check(ask).map_err(|too| too.at(Span::default()))?;
    let reading = Reading::begin().map_err(|error| failure(error, Span::default()))?;
    let longest = if is_known { LONGEST } else { LONGEST_OF_NOBODY };
    let until = Instant::now() + longest;
    let told = told.unwrap_or(reading.closed);
    let mut answering = Answering { role, until, longest, told, reads: 0, bytes: 0 };
    let answer = answering.answer(ask)?;
    let Answering { reads, bytes, .. } = answering;
    Ok(Answered { answer, txn_ts: reading.closed, reads, bytes })
}

/// What the next page of a set is asked for by. The token says what set it is, and is signed; the rest
/// may be anything.
#[derive(Debug, Serialize, Deserialize)]
struct Next {
    token: String,
    size: u32,
    after: Vec<String>,
}

struct Answering {
    role: pg_sys::Oid,
    until: Instant,
    longest: Duration,
    told: i64,
    reads: u64,
    bytes: u64,
}

impl Answering {
    fn answer(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        Ok(match ask {
            Ask::Constant(constant) => Answer::Constant(constant.clone()),
            Ask::Array(items) => {
                Answer::Array(items.iter().map(|item| self.answer(item)).collect::<Result<_, _>>()?)
            }
            Ask::Object(fields) => {
                let fields =
                    fields.iter().map(|(name, field)| Ok((name.clone(), self.answer(field)?)));
                Answer::Object(fields.collect::<Result<_, Failure>>()?)
            }
            Ask::Page { rows, size } => {
                let definition = self.define(rows, None)?;
                let (images, after) = self.page(&definition, None, *size, rows.collection.span)?;
                shown(&definition, images, false, after, rows.collection.span)?
            }
            Ask::Sorted { rows, order, skip, limit } => {
                let definition = self.define(rows, None)?;
                let (by, span) = (by_columns(rows, order, self.role)?, rows.collection.span);
                let sorting = Sorting { by, skip: *skip, limit: *limit };
                let images = self.sorted(&definition, &sorting, span)?;
                shown(&definition, images, false, None, span)?
            }
            Ask::Next { cursor, size, span } => {
                let next = Next::decode(cursor).ok_or_else(|| {
                    Failure::new(Fault::InvalidArgument, "expected a cursor", *span)
                })?;
                let source = source::open_as(&next.token, self.role);
                let definition = source.map_err(|error| failure(error, *span))?.definition;
                let size = size.unwrap_or(next.size);
                let (images, after) = self.page(&definition, Some(next.after), size, *span)?;
                shown(&definition, images, true, after, *span)?
            }
            Ask::Row(rows) => {
                let (Found { view, row, .. }, key) = (self.row(rows)?, key(rows));
                Answer::Row { view, row, key }
            }
            Ask::Version { rows, at } => self.version(rows, *at)?,
            Ask::EventSource(source) => Answer::EventSource(self.event_source(source)?),
            Ask::Plural(plural) => named::described(&named::by_plural(plural, self.role)?),
        })
    }

    fn page(
        &mut self,
        definition: &Definition,
        mut after: Option<Vec<String>>,
        size: u32,
        span: Span,
    ) -> Result<(Vec<Image>, Option<String>), Failure> {
        let mut images = Vec::new();
        let full = Instant::now() + PAGE;
        loop {
            let wanted = size - images.len() as u32;
            let found = self.read(definition, after.as_deref(), wanted, span)?;
            images.extend(found.rows.into_iter().map(|row| row.image));
            after = found.next;
            if after.is_none() || images.len() == size as usize || Instant::now() > full {
                break;
            }
        }
        let after = after.map(|after| self.next(definition, size, after, span)).transpose()?;
        Ok((images, after))
    }

    fn next(
        &self,
        definition: &Definition,
        size: u32,
        after: Vec<String>,
        span: Span,
    ) -> Result<String, Failure> {
        let token = {
            let _acting = ActingAs::restricted(self.role);
            source::token(definition.clone(), None).map_err(|error| failure(error, span))?
        };
        Ok(Next { token, size, after }.encode())
    }

    fn row(&mut self, rows: &Rows) -> Result<Found, Failure> {
        let span = rows.collection.span;
        let definition = match &rows.of {
            Of::First { of, filter, .. } => self.define(&set(rows, of, filter, &rows.shown), None),
            _ => self.define(rows, None),
        };
        // What no key can be is the key of no document.
        let definition = match definition {
            Err(failure) if failure.fault == Fault::InvalidArgument && key(rows).is_some() => None,
            other => Some(other?),
        };
        let (view, row) = match &definition {
            Some(definition) => {
                let view = source::view(definition).map_err(|error| failure(error, span))?;
                (view, self.first(definition, span)?)
            }
            None => (named::view(&named::collection(&rows.collection, self.role)?), None),
        };
        Ok(Found { definition, view, row })
    }

    fn version(&mut self, rows: &Rows, at: Option<i64>) -> Result<Answer, Failure> {
        let span = rows.collection.span;
        let Found { definition, view, row } = self.row(rows)?;
        let changes = definition.and_then(|definition| Changes::of(definition, row.as_ref()));
        let Some(mut changes) = changes else {
            return Ok(Answer::Version { view, row, txn_ts: self.told, untold: false });
        };
        if let Some(at) = at
            && let Some(first) = changes.first_behind(at, span)?
            && let Some(before) = first.before
        {
            return Ok(Answer::Version { view, row: Some(before), txn_ts: at, untold: false });
        }
        let last = changes.last_behind(self.told, span)?;
        let (txn_ts, untold) = (last.unwrap_or(self.told), last.is_some());
        Ok(Answer::Version { view, row, txn_ts, untold })
    }

    fn event_source(&mut self, asked: &EventSource) -> Result<String, Failure> {
        let mut definition = self.define(&asked.rows, asked.watch.as_deref())?;
        definition.every_delete = asked.every_delete;
        let _acting = ActingAs::restricted(self.role);
        let expires_in = asked.lasts.then(|| Interval::from_micros(0));
        source::token(definition, expires_in).map_err(|error| failure(error, asked.span))
    }

    /// The definition of the rows meant. The first row of a set is found, and is then meant by its key.
    fn define(&mut self, rows: &Rows, watch: Option<&[Name]>) -> Result<Definition, Failure> {
        let Of::First { of, filter, span } = &rows.of else {
            return define::define(rows, Asked { role: self.role, watch, key: None });
        };
        let set = set(rows, of, filter, &Shown::Document);
        let definition = self.define(&set, None)?;
        let first = self.first(&definition, *span)?;
        let key = first.as_ref().and_then(Image::key).ok_or_else(|| {
            let message = "can't call `.eventSource()` because there is no such document";
            Failure::new(Fault::InvalidReceiver, message, *span)
        });
        let key = key?.0.iter().filter_map(|value| value.text()).collect();
        define::define(rows, Asked { role: self.role, watch, key: Some(Set::Row { key }) })
    }

    fn first(&mut self, definition: &Definition, span: Span) -> Result<Option<Image>, Failure> {
        let mut after = None;
        loop {
            let found = self.read(definition, after.as_deref(), 1, span)?;
            after = found.next;
            if let Some(first) = found.rows.into_iter().next() {
                return Ok(Some(first.image));
            }
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    fn sorted(
        &mut self,
        definition: &Definition,
        sorting: &Sorting,
        span: Span,
    ) -> Result<Vec<Image>, Failure> {
        self.check_time(span)?;
        let images = rows::sorted(definition, sorting).map_err(|error| failure(error, span))?;
        self.reads += images.len() as u64;
        self.bytes += images.iter().map(|image| image.bytes() as u64).sum::<u64>();
        Ok(images)
    }

    fn check_time(&self, span: Span) -> Result<(), Failure> {
        if Instant::now() <= self.until {
            return Ok(());
        }
        let message = format!("the query took more than {} ms", self.longest.as_millis());
        Err(Failure::new(Fault::TimeOut, message, span)
            .hint("ask for fewer rows, or for those of an index"))
    }

    fn read(
        &mut self,
        definition: &Definition,
        after: Option<&[String]>,
        limit: u32,
        span: Span,
    ) -> Result<rows::Rows, Failure> {
        self.check_time(span)?;
        let found = rows::page(definition, after, limit).map_err(|error| failure(error, span))?;
        self.reads += u64::from(found.looked_at);
        self.bytes += found.rows.iter().map(|row| row.image.bytes() as u64).sum::<u64>();
        Ok(found)
    }
}

/// A row that was asked for.
struct Found {
    /// `None` where the key is that of no row.
    definition: Option<Definition>,
    view: View,
    row: Option<Image>,
}

/// The key by which a row is asked for.
fn key(rows: &Rows) -> Option<String> {
    match &rows.of {
        Of::Key { key, .. } => event_source_filter::text(key),
        _ => None,
    }
}

impl Next {
    fn encode(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("texts and a number are always encoded");
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(text: &str) -> Option<Self> {
        let next: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        (1..=LARGEST_PAGE).contains(&next.size).then_some(next)
    }
}

fn shown(
    definition: &Definition,
    rows: Vec<Image>,
    is_next: bool,
    after: Option<String>,
    span: Span,
) -> Result<Answer, Failure> {
    let view = source::view(definition).map_err(|error| failure(error, span))?;
    Ok(Answer::Page { view, rows, is_next, after })
}

/// The columns that rows are ordered by.
fn by_columns(
    rows: &Rows,
    order: &[Order],
    role: pg_sys::Oid,
) -> Result<Vec<(String, bool)>, Failure> {
    let table = named::collection(&rows.collection, role)?.relation;
    let column = |order: &Order| Ok((named::column(table, &order.column)?, order.descending));
    order.iter().map(column).collect()
}

/// The rows of which some are the first.
fn set(first: &Rows, of: &Of, filter: &Option<Test>, shown: &Shown) -> Rows {
    Rows {
        collection: first.collection.clone(),
        of: of.clone(),
        filter: filter.clone(),
        shown: shown.clone(),
    }
}

/// An error of the extension as one of the query.
pub(super) fn failure(error: Error, span: Span) -> Failure {
    let fault = match error.kind {
        Kind::InsufficientPrivilege | Kind::Unauthorized => Fault::PermissionDenied,
        Kind::InvalidParameter | Kind::InvalidToken | Kind::InvalidCursor => Fault::InvalidArgument,
        Kind::Contended => Fault::Contended,
        Kind::TookTooMuch => Fault::TimeOut,
        _ => Fault::InvalidQuery,
    };
    let message = match error.detail {
        Some(detail) => format!("{} ({detail})", error.message),
        None => error.message,
    };
    Failure { hint: error.hint, ..Failure::new(fault, message, span) }
}
