//! One source, evaluated by a feed within one transaction.

use event_source_model::event::EventType;
use event_source_model::look::Only;
use event_source_model::net::NetChange;
use event_source_model::source::Definition;

use super::collection::Collection;
use super::guard::opening;
use crate::error::Result;

/// The id of the only source.
const ONLY: u64 = 0;

/// What can be said of a change without looking at its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The event that it is for the source, if any.
    Event(Option<EventType>),
    /// Nothing: the images have to be evaluated.
    ByImages,
}

/// One source; it does not outlive the transaction that opened it.
#[derive(Debug)]
pub struct Evaluator {
    collection: Collection,
}

impl Evaluator {
    /// # Errors
    /// When the definition no longer fits the table, the index or the role that it names.
    pub fn open(definition: &Definition) -> Result<Self> {
        opening(definition, || {
            let mut collection = Collection::open(definition.collection)?;
            collection.add(ONLY, definition)?;
            Ok(Self { collection })
        })
    }

    /// The event that a plain change is for this source, where that rests on nothing in its images.
    pub fn known(&self, only: &Only) -> Known {
        if only.collection != self.collection.id() {
            return Known::ByImages;
        }
        match self.collection.known(only) {
            Some(mut seen_by) => Known::Event(seen_by.next().map(|(_, kind)| kind)),
            None => Known::ByImages,
        }
    }

    /// The event that the change is for this source, if any.
    ///
    /// # Errors
    /// When an expression of the source fails on the row, or the row no longer fits the table.
    pub fn evaluate(&mut self, change: &NetChange) -> Result<Option<EventType>> {
        if change.collection != self.collection.id() {
            return Ok(None);
        }
        let mut matches = self.collection.matches(change);
        match matches.failed.pop() {
            Some((_, error)) => Err(error),
            None => Ok(matches.seen_by.first().map(|&(_, kind)| kind)),
        }
    }
}
