//! What reading took: the figures behind the `stats` of Fauna's wire.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::image::Image;
use crate::net::NetChange;

/// What was read to find events, those that were wanted and the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Net changes that were evaluated.
    pub changes: u64,
    /// Bytes of their rows, before and after.
    pub bytes: u64,
    /// How long it took.
    pub micros: u64,
}

impl Cost {
    /// Of one change with these sides, without its time.
    pub fn of<'a>(sides: impl IntoIterator<Item = &'a Image>) -> Self {
        let bytes = sides.into_iter().map(|image| image.bytes() as u64).sum();
        Self { changes: 1, bytes, micros: 0 }
    }

    /// Of what a transaction did to a row, without its time.
    pub fn of_change(change: &NetChange) -> Self {
        Self::of(change.before.iter().chain(&change.after))
    }

    /// What an event's own change took, without its time.
    pub fn of_event(event: &Event) -> Self {
        Self::of(event.before.iter().chain(&event.after))
    }

    /// One change's share of the time, for what is not measured change by change.
    pub fn micros_each(&self) -> u64 {
        self.micros.checked_div(self.changes).unwrap_or(0)
    }

    /// This, of which a part was accounted for elsewhere.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self {
            changes: self.changes.saturating_sub(part.changes),
            bytes: self.bytes.saturating_sub(part.bytes),
            micros: self.micros.saturating_sub(part.micros),
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.changes += other.changes;
        self.bytes += other.bytes;
        self.micros += other.micros;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_its_share_of_the_time_and_none_of_nothing() {
        let cost = Cost { changes: 4, bytes: 0, micros: 10 };
        assert_eq!(cost.micros_each(), 2);
        assert_eq!(Cost::default().micros_each(), 0);
    }

    #[test]
    fn what_is_accounted_for_twice_leaves_nothing_rather_than_less() {
        let (one, two) =
            (Cost { changes: 1, bytes: 9, micros: 5 }, Cost { changes: 2, ..Cost::default() });
        assert_eq!(one.without(two), Cost { changes: 0, bytes: 9, micros: 5 });
    }
}
