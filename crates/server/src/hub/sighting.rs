//! Which source sees which change of a tail.

use event_source_door::message::{SourceId, Tail};
use event_source_model::encoding::Damaged;
use event_source_model::event::EventType;
use event_source_model::events::Sides;
use event_source_model::net::NetChange;
use event_source_model::position::Position;

/// A source sees a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) source: SourceId,
    /// Where the change is in the tail.
    pub(super) at: usize,
    pub(super) kind: EventType,
}

impl Sighting {
    /// The position of the change.
    pub(super) fn position(self, tail: &Tail) -> &Position {
        &tail.changes.list[self.at].position
    }

    /// The change, with the images that are looked at.
    pub(super) fn decode(self, tail: &Tail, sides: Sides) -> Result<NetChange, Damaged> {
        tail.changes.decode(self.at, sides.has_old(self.kind))
    }
}

/// Of all sources, each one's together and in the order of the tail. The sources come in the order in which
/// they were opened, so that streams of one connection, which are near each other in memory, follow each other.
pub(super) fn by_source(tail: &Tail) -> Vec<Sighting> {
    let mut sightings: Vec<Sighting> = all(tail).collect();
    sightings.sort_by_key(|sighting| sighting.source);
    sightings
}

/// Of one source.
pub(super) fn by(tail: &Tail, source: SourceId) -> Vec<Sighting> {
    all(tail).filter(|sighting| sighting.source == source).collect()
}

fn all(tail: &Tail) -> impl Iterator<Item = Sighting> {
    tail.changes.list.iter().enumerate().flat_map(|(at, change)| {
        change.seen_by.iter().map(move |&(source, kind)| Sighting { source, at, kind })
    })
}
