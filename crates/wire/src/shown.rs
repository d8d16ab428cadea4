//! An event as a renderer sees it: borrowed, so that the tail's shared images are never copied.

use event_source_model::event::{Event, EventType, View};
use event_source_model::image::{Column, Image, Key};
use event_source_model::position::Position;
use event_source_model::value::Value;

/// A net change seen through a source.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub kind: EventType,
    pub position: &'a Position,
    pub key: Option<&'a Key>,
    pub before: Option<&'a Image>,
    pub after: Option<&'a Image>,
}

impl<'a> Shown<'a> {
    /// The image in `data`: the new one, and on remove the last one that was in the set.
    pub fn image(&self) -> Option<&'a Image> {
        match self.kind {
            EventType::Remove => self.before.or(self.after),
            EventType::Add | EventType::Update => self.after,
            EventType::HistoryRewrite => None,
        }
    }

    /// The old image, when it was in the set. What a row was before it came in is not the
    /// reader's to see: the token may not reach it.
    pub fn previous(&self) -> Option<&'a Image> {
        match self.kind {
            EventType::Add | EventType::HistoryRewrite => None,
            EventType::Update | EventType::Remove => self.before,
        }
    }
}

impl<'a> From<&'a Event> for Shown<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            kind: event.kind,
            position: &event.position,
            key: event.key.as_ref(),
            before: event.before.as_ref(),
            after: event.after.as_ref(),
        }
    }
}

/// The columns of an image that a view shows, in table order.
pub(crate) fn columns<'a>(
    view: &'a View,
    image: &'a Image,
) -> impl Iterator<Item = (&'a Column, &'a Value)> + Clone {
    let shown = |column: &Column| match &view.fields {
        Some(fields) => fields.contains(&column.attnum),
        None => true,
    };
    image.shape.columns.iter().zip(&image.values).filter(move |(column, _)| shown(column))
}
