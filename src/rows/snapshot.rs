//! The rows of a set as the first events of a reader, who has nothing else to begin with.
//!
//! Each page is of its own moment, all of them later than the place where the reader goes on in the log:
//! what happened in between comes again from there, so that whoever applies all of it by key has the set
//! as it is. No snapshot is held between two pages, however long the reader takes.

use std::time::{Duration, Instant};

use event_source_model::event::{Event, EventType};
use event_source_model::position::Position;
use event_source_model::source::Definition;

use super::page;
use crate::error::{Error, Kind, Result};
use crate::log::{fingerprint, floor};
use crate::source;
use crate::source::written;

/// Some rows.
#[derive(Debug)]
pub(crate) struct Part {
    /// One `add` for each row.
    pub(crate) events: Vec<Event>,
    /// Behind them; without a snapshot's key when there are no more.
    pub(crate) position: Position,
}

/// Before the first row. The log is followed from the newest transaction of now on.
///
/// # Errors
/// The table has no primary key.
pub(crate) fn start(definition: &Definition, closed: i64) -> Result<Position> {
    let table = source::relation_of(definition.collection)?
        .ok_or_else(|| Error::new(Kind::SourceGone, "the table is no longer captured"))?;
    written::primary_key(table)?;
    let newest = fingerprint::newest(closed)?.unwrap_or_else(|| Position::after(closed));
    Ok(newest.before_rows(Vec::new()))
}

/// Up to `limit` rows behind `from`, as many as are found in that time, and looked for at least once.
/// The caller has taken its own active snapshot after the reader's start.
///
/// # Errors
/// [`Kind::PositionGone`] when the log no longer holds what comes behind the rows.
pub(crate) fn read(
    definition: &Definition,
    from: &Position,
    limit: u32,
    time: Duration,
) -> Result<Part> {
    floor::check(from)?;
    let until = Instant::now() + time;
    let mut behind = from.snapshot.clone().filter(|key| !key.is_empty());
    let mut events = Vec::new();
    loop {
        let wanted = limit - events.len() as u32;
        let found = page(definition, behind.as_deref(), wanted)?;
        events.extend(found.rows.into_iter().map(|row| Event {
            kind: EventType::Add,
            position: from.clone().before_rows(row.key),
            key: row.image.key(),
            before: None,
            after: Some(row.image),
        }));
        behind = found.next;
        if behind.is_none() || events.len() >= limit as usize || Instant::now() >= until {
            let position = Position { snapshot: behind, ..from.clone() };
            return Ok(Part { events, position });
        }
    }
}
