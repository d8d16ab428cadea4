//! The rows of a set as the first events of a reader, who has nothing else to begin with.
//!
//! Each page is of its own moment, all of them later than the place where the reader goes on in the log:
//! what happened in between comes again from there, so that whoever applies all of it by key has the set
//! as it is. No snapshot is held between two pages, however long the reader takes.

use std::time::{Duration, Instant};

use event_source_model::cost::Cost;
use event_source_model::event::{Event, EventType};
use event_source_model::events::Events;
use event_source_model::position::Position;
use event_source_model::snapshot::Snapshot;
use event_source_model::source::{Definition, Start};

use super::page;
use crate::error::{Error, Kind, Result};
use crate::log::{fingerprint, floor};
use crate::order::start_position;
use crate::source;
use crate::source::written;

/// Some rows.
#[derive(Debug)]
pub(crate) struct Part {
    /// One `add` for each row.
    pub(crate) events: Events,
    /// Behind them.
    pub(crate) position: Position,
    pub(crate) cost: Cost,
}

impl Part {
    /// No rows for now.
    pub(crate) fn none(position: Position) -> Self {
        Self { events: Events::default(), position, cost: Cost::default() }
    }
}

/// Each row is an `add`: whoever did not ask for those would get what the token does not say.
fn check_types(definition: &Definition) -> Result<()> {
    if definition.types.add {
        return Ok(());
    }
    Err(Error::new(
        Kind::InvalidParameter,
        "the event source has no adds, and a snapshot is nothing else",
    )
    .hint("leave snapshot out, or make the event source with types that include add"))
}

/// Before the first row. The log is followed from the newest transaction of now on.
///
/// # Errors
/// The table has no primary key, or the reader wants no rows.
pub(crate) fn start(definition: &Definition, closed: i64) -> Result<Position> {
    check_types(definition)?;
    let table = source::relation_of(definition.collection)?
        .ok_or_else(|| Error::new(Kind::SourceGone, "the table is no longer captured"))?;
    written::check_primary_key(table)?;
    let newest = fingerprint::newest(closed)?.unwrap_or_else(|| Position::after(closed));
    let saw = Start { closed: newest.txn_ts, seen: Vec::new() };
    Ok(newest.having_seen(Some(Box::new(Snapshot { behind: Some(Vec::new()), saw }))))
}

/// Up to `limit` rows behind `from`, as many as are found in that time, and looked for at least once.
/// The caller has taken its own active snapshot after the reader's start.
///
/// # Errors
/// [`Kind::PositionGone`] when the log no longer holds what comes behind the rows;
/// [`Kind::Contended`] when the table is locked, or too many transactions commit at this moment: a stream looks again
/// a little later.
pub(crate) fn read(
    definition: &Definition,
    from: &Position,
    limit: u32,
    time: Duration,
) -> Result<Part> {
    check_types(definition)?;
    floor::check(from)?;
    let begun = Instant::now();
    let saw = start_position().map_err(|error| match error.kind {
        Kind::LimitExceeded => Error { kind: Kind::Contended, ..error },
        _ => error,
    })?;
    let place = Position { snapshot: None, ..from.clone() };
    let at =
        |behind| place.clone().having_seen(Some(Box::new(Snapshot { behind, saw: saw.clone() })));
    let mut behind = from.rows_behind().filter(|key| !key.is_empty()).map(<[_]>::to_vec);
    let mut events = Vec::new();
    let mut cost = Cost::default();
    loop {
        let wanted = limit - events.len() as u32;
        let found = page(definition, behind.as_deref(), wanted)?;
        cost.changes += u64::from(found.looked_at);
        events.extend(found.rows.into_iter().map(|row| Event {
            kind: EventType::Add,
            position: at(Some(row.key)),
            key: row.image.key(),
            before: None,
            after: Some(row.image),
        }));
        behind = found.next;
        if behind.is_none() || events.len() >= limit as usize || begun.elapsed() >= time {
            cost.micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            return Ok(Part { events: events.into(), position: at(behind), cost });
        }
    }
}
