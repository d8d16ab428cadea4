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

/// The last transaction above `told` that changes the row and that the active snapshot sees, which sees
/// everything up to `told`.
///
/// Transactions that change one row follow each other in their order, for each holds the row's lock
/// until it has ended: so the snapshot sees all of them up to the one that it gives, and none behind it.
pub(super) fn seen(
    definition: &Definition,
    row: &Image,
    told: i64,
    span: Span,
) -> Result<Option<i64>, Failure> {
    let failed = |error| failure(error, span);
    let Some(key) = row.key() else { return Ok(None) };
    // Refused for a moment when it sees a transaction that has no place yet.
    let start = order::start_position().map_err(failed)?;
    let until = start.seen.last().copied().unwrap_or(start.closed);
    let key = key.0.iter().filter_map(|value| value.text()).collect();
    let definition = Definition { set: Set::Row { key }, filter: None, ..definition.clone() };
    let mut evaluator = Evaluator::open(&definition).map_err(failed)?;
    let mut from = Position::after(told);
    let mut last = None;
    while from.txn_ts < until {
        let limits = Limits::of_page(u32::MAX);
        let chunk = read::read(&mut evaluator, &definition, None, from, until, limits);
        let chunk = chunk.map_err(failed)?;
        if let Some(refusal) = chunk.error {
            return Err(Failure::new(Fault::InvalidArgument, refusal.message, span));
        }
        last = chunk.events.last().map(|event| event.position.txn_ts).or(last);
        if !chunk.has_next {
            break;
        }
        from = chunk.position;
    }
    Ok(last)
}
