//! From a token and where to start to a source and a position, and from there to a page.

use std::time::Duration;

use event_source_door::message::StartAt;
use event_source_model::event::{LARGEST_PAGE, Page};
use event_source_model::position::{Cursor, Position};
use event_source_model::source::Source;

use super::read;
use crate::error::{Error, Kind, Result};
use crate::log::floor;
use crate::matching::Evaluator;
use crate::order::history;
use crate::order::reading::Reading;
use crate::rows::snapshot;
use crate::source;

/// Events of a page when the caller does not say.
pub const DEFAULT_PAGE_SIZE: u32 = 100;
/// What the rows of a snapshot's page may take: the worker answers nobody else meanwhile.
const ROWS: Duration = Duration::from_millis(100);

/// Where a reader of `source` starts. Needs an active snapshot that was taken after `closed` was read.
///
/// # Errors
/// For a cursor that is none, a position of another history, and one that the log no longer holds.
pub fn position(source: &Source, start: &StartAt, closed: i64) -> Result<Position> {
    let (history, position) = match start {
        StartAt::Snapshot => (history::history_id(), snapshot::start(&source.definition, closed)?),
        StartAt::Token => {
            let skipping = (!source.start.seen.is_empty()).then_some(source.id);
            (source.history, Position { skipping, ..source.start.position() })
        }
        StartAt::Cursor(text) => {
            let cursor = Cursor::decode(text).map_err(|invalid| {
                Error::new(Kind::InvalidCursor, invalid.to_string())
                    .hint("a cursor is the text in an event's or a page's cursor field")
            })?;
            (cursor.history, cursor.position)
        }
        StartAt::Timestamp(txn_ts) => (history::history_id(), Position::after(*txn_ts)),
    };
    let seen = if position.skipping == Some(source.id) { &*source.start.seen } else { &[] };
    // Below the beginning of this log is either what it let go, or what was in another one: the log of
    // a restored dump begins anew.
    let is_own = history::shares_oids(history);
    if is_own {
        check_kept(&position)?;
    }
    history::check(history, &position, seen)?;
    if !is_own {
        check_kept(&position)?;
    }
    source::check_generation(&source.definition, &position)?;
    Ok(position)
}

/// One page of events. Reads the closed timestamp, then takes its own snapshot.
pub fn page(source: &Source, start: &StartAt, page_size: u32) -> Result<Page> {
    check_page_size(page_size)?;
    page_of(source, start, read::Limits::of_page(page_size))
}

/// One page within limits; one of no events says whether there is any.
pub fn page_of(source: &Source, start: &StartAt, limits: read::Limits) -> Result<Page> {
    let reading = Reading::begin()?;
    let from = position(source, start, reading.closed)?;
    Ok(page_behind(source, from, reading.closed, limits, limits)?.0)
}

/// A part of a page behind a position, within the limits of the part, and what of the limits of the page is
/// left if another part follows. Needs an active snapshot that was taken after `closed` was read.
pub fn page_behind(
    source: &Source,
    from: Position,
    closed: i64,
    limits: read::Limits,
    of_part: read::Limits,
) -> Result<(Page, Option<read::Limits>)> {
    let view = source::view(&source.definition)?;
    if from.rows_behind().is_some() {
        let part = snapshot::read(&source.definition, &from, limits.events, ROWS)?;
        let page = Page {
            view,
            events: part.events,
            ends_snapshot: part.position.rows_behind().is_none(),
            position: part.position,
            has_next: true,
            is_cut: false,
            error: None,
            cost: part.cost,
        };
        return Ok((page, None));
    }
    let mut evaluator = Evaluator::open(&source.definition)?;
    let skip = read::Skip::of(source, &from);
    let chunk = read::read(&mut evaluator, &source.definition, skip, from, closed, of_part)?;
    let left = limits.behind(&chunk);
    let page = Page {
        view,
        events: chunk.events,
        position: chunk.position,
        has_next: chunk.has_next,
        ends_snapshot: false,
        is_cut: chunk.is_cut,
        error: chunk.error,
        cost: chunk.cost,
    };
    Ok((page, left))
}

/// # Errors
/// When a page cannot have so many events.
pub fn check_page_size(page_size: u32) -> Result<()> {
    let message = match page_size {
        0 => "page size must be greater than zero".to_owned(),
        1..=LARGEST_PAGE => return Ok(()),
        _ => format!("page size can not be greater than {LARGEST_PAGE}"),
    };
    Err(Error::new(Kind::InvalidParameter, message))
}

/// A position below the floor lacks what was let go; while nothing was, one below what the oldest
/// stamp knew to be closed is of before anything was captured.
fn check_kept(position: &Position) -> Result<()> {
    floor::check(position)?;
    let oldest = floor::oldest()?;
    if position.txn_ts < oldest { Err(floor::gone(oldest)) } else { Ok(()) }
}
