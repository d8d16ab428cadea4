//! Which changes of a row a snapshot sees, as one place in the order.
//!
//! A closed timestamp alone does not say: the snapshot is taken after it, and may see a few transactions
//! more. A reader who takes the row, and then every event behind that timestamp, would be told of their
//! changes again.

use event_source_model::image::Image;
use event_source_model::position::Position;
use event_source_model::query::{Failure, Fault, Span};
use event_source_model::source::{Definition, Set};

use super::answer::failure;
use crate::feed::read::{self, Limits};
use crate::matching::Evaluator;
use crate::order;

/// Of the transactions that change the row, the active snapshot sees those up to here and no others.
///
/// It is the highest of those that it sees, or the closed timestamp where that is higher: transactions
/// that change one row follow each other, for each holds the row's lock until it has ended.
pub(super) fn seen(
    definition: &Definition,
    row: &Image,
    closed: i64,
    span: Span,
) -> Result<i64, Failure> {
    let failed = |error| failure(error, span);
    let start = order::start_position().map_err(failed)?;
    let mut last = closed.max(start.closed);
    let (Some(&until), Some(key)) = (start.seen.last(), row.key()) else { return Ok(last) };
    let key = key.0.iter().filter_map(|value| value.text()).collect();
    let definition = Definition { set: Set::Row { key }, filter: None, ..definition.clone() };
    let mut evaluator = Evaluator::open(&definition).map_err(failed)?;
    let mut from = Position::after(last);
    while from.txn_ts < until {
        let limits = Limits::of_page(u32::MAX);
        let chunk = read::read(&mut evaluator, &definition, None, from, until, limits);
        let chunk = chunk.map_err(failed)?;
        if let Some(refusal) = chunk.error {
            return Err(Failure::new(Fault::InvalidArgument, refusal.message, span));
        }
        last = chunk.events.last().map_or(last, |event| event.position.txn_ts);
        if !chunk.has_next {
            break;
        }
        from = chunk.position;
    }
    Ok(last)
}
