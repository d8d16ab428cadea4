//! The event rule: membership before and after a change, and what the source asked for.

use event_source_model::event::EventType;
use event_source_model::image::Image;
use event_source_model::look::Only;
use event_source_model::net::NetChange;
use event_source_model::source::{Definition, Types, Watch};
use event_source_model::value::Value;

/// What a source wants of the changes of its set.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    types: Types,
    watch: Option<Watch>,
    /// See [`Definition::every_delete`].
    pub(super) every_delete: bool,
}

/// Whether the set held the row before and after a change, and whether what the set shows of a
/// row that stayed in it changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) before: bool,
    pub(super) after: bool,
    pub(super) changed: bool,
}

impl Rule {
    pub(super) fn of(definition: &Definition) -> Self {
        Self {
            types: definition.types,
            watch: definition.watch.clone(),
            every_delete: definition.every_delete,
        }
    }

    /// The event that the change is for this source, if any.
    pub(super) fn event(&self, membership: Membership, change: &NetChange) -> Option<EventType> {
        if change.rewrite {
            // Whatever types or columns a source asked for: it may hold what was erased.
            return membership.after.then_some(EventType::HistoryRewrite);
        }
        let kind = EventType::of(membership.before, membership.after)?;
        let shows_it = || match kind {
            EventType::Add => self.comes(change.after.as_ref()),
            EventType::HistoryRewrite => true,
            EventType::Remove => self.goes(change.before.as_ref()),
            EventType::Update => membership.changed && self.watched_changed(change),
        };
        (self.asks_for(kind) && shows_it()).then_some(kind)
    }

    /// Whether [`Rule::event`] of a row of the collection rests on its images.
    pub(super) fn looks_at_images(&self) -> bool {
        self.watch.is_some()
    }

    /// The event that the plain change of a row is where nothing rests on its images.
    pub(super) fn event_without_images(&self, only: &Only) -> Option<EventType> {
        EventType::of(only.before, only.after).filter(|&kind| self.asks_for(kind))
    }

    fn asks_for(&self, kind: EventType) -> bool {
        match kind {
            EventType::Add => self.types.add,
            EventType::Update => self.types.update,
            EventType::Remove => self.types.remove,
            EventType::HistoryRewrite => true,
        }
    }

    /// Whether a row that comes counts.
    fn comes(&self, row: Option<&Image>) -> bool {
        self.watch_of_rows().is_none_or(|columns| columns.iter().any(|&at| has(row, at)))
    }

    /// Whether a row that goes counts.
    fn goes(&self, row: Option<&Image>) -> bool {
        self.watch_of_rows().is_none_or(|columns| columns.iter().all(|&at| has(row, at)))
    }

    fn watch_of_rows(&self) -> Option<&[i16]> {
        self.watch.as_ref().filter(|watch| watch.of_rows).map(|watch| &*watch.columns)
    }

    fn watched_changed(&self, change: &NetChange) -> bool {
        let Some(Watch { columns, .. }) = &self.watch else { return true };
        let value = |image: &Option<Image>, attnum| {
            image.as_ref().and_then(|i| i.by_attnum(attnum)).cloned()
        };
        columns.iter().any(|&attnum| value(&change.before, attnum) != value(&change.after, attnum))
    }
}

fn has(row: Option<&Image>, column: i16) -> bool {
    row.and_then(|row| row.by_attnum(column)).is_some_and(|value| *value != Value::Null)
}
