//! Which changes of a row a snapshot sees, as one place in the order, and what the row was at such a place.
//!
//! A closed timestamp alone does not say: the snapshot is taken after it, and may see a few transactions
//! more. A reader who takes the row, and then every event behind that timestamp, would be told of their
//! changes again.
//!
//! Transactions that change one row follow each other in their order, for each holds the row's lock until
//! it has ended. So a snapshot that sees one of them sees all that are before it.

use event_source_model::event::Event;
use event_source_model::image::Image;
use event_source_model::position::Position;
use event_source_model::query::{Failure, Fault, Span};
use event_source_model::source::{Definition, Set};

use super::answer::failure;
use crate::error::Error;
use crate::feed::read::{self, Limits};
use crate::matching::Evaluator;
use crate::order;

/// The changes of one row that the active snapshot sees.
pub(super) struct Changes {
    definition: Definition,
}

impl Changes {
    /// Of the row that is there, or whose key is asked for; `None` of a row that nobody could tell from
    /// another.
    pub(super) fn of(definition: Definition, row: Option<&Image>) -> Option<Self> {
        let set = match (&definition.set, row.and_then(Image::key)) {
            (Set::Row { .. }, _) => definition.set.clone(),
            (_, Some(key)) => {
                Set::Row { key: key.0.iter().filter_map(|value| value.text()).collect() }
            }
            (_, None) => return None,
        };
        Some(Self { definition: Definition { set, filter: None, ..definition } })
    }

    /// The first one behind a place.
    pub(super) fn first_behind(&mut self, at: i64, span: Span) -> Result<Option<Event>, Failure> {
        Ok(self.behind(at, 1, span)?.into_iter().next())
    }

    /// The transaction of the last one behind a place.
    pub(super) fn last_behind(&mut self, at: i64, span: Span) -> Result<Option<i64>, Failure> {
        let events = self.behind(at, u32::MAX, span)?;
        Ok(events.last().map(|event| event.position.txn_ts))
    }

    /// Up to so many of them.
    fn behind(&mut self, at: i64, most: u32, span: Span) -> Result<Vec<Event>, Failure> {
        let failed = |error| failure(error, span);
        // Refused for a moment when it sees a transaction that has no place yet.
        let start = order::start_position().map_err(failed)?;
        let until = start.seen.last().copied().unwrap_or(start.closed);
        let mut evaluator = Evaluator::open(&self.definition).map_err(failed)?;
        let mut from = Position::after(at);
        let mut found = Vec::new();
        while from.txn_ts < until {
            let limits = Limits::of_page(most);
            let chunk = read::read(&mut evaluator, &self.definition, None, from, until, limits);
            let chunk = chunk.map_err(failed)?;
            if let Some(refusal) = chunk.error {
                return Err(Failure::new(Fault::InvalidArgument, refusal.message, span));
            }
            let events = chunk.events.to_vec().map_err(Error::from);
            found.extend(events.map_err(failed)?);
            if !chunk.has_next || found.len() >= most as usize {
                break;
            }
            from = chunk.position;
        }
        Ok(found)
    }
}
