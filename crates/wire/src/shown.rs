//! An event as a renderer sees it: borrowed, so that the tail's shared images are never copied.

use event_source_model::event::{Event, EventType, View};
use event_source_model::image::{Column, Image, Key};
use event_source_model::position::Position;
use event_source_model::source::Projection;
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

/// A column's value under the name that it is shown by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) attnum: i16,
    pub(crate) value: &'a Value,
}

/// What a view shows of an image: in table order, or as its projection says. A column that the image
/// does not have is null in a projection.
pub(crate) fn fields<'a>(
    view: &'a View,
    image: &'a Image,
) -> impl Iterator<Item = Field<'a>> + Clone {
    let projected = match &view.projection {
        Some(Projection::Object(shown)) => Some(shown),
        Some(Projection::Value(_)) | None => None,
    };
    let field = |(name, attnum): &'a (String, i16)| Field {
        name,
        attnum: *attnum,
        value: image.by_attnum(*attnum).unwrap_or(&Value::Null),
    };
    let named = projected.into_iter().flatten().map(field);
    let field = |(column, value): (&'a Column, &'a Value)| {
        let field = Field { name: &column.name, attnum: column.attnum, value };
        let shown = view.fields.as_ref().is_none_or(|fields| fields.contains(&column.attnum));
        shown.then_some(field)
    };
    let whole = projected.is_none().then(|| image.fields()).into_iter().flatten();
    named.chain(whole.filter_map(field))
}

/// The only value that a view shows, where it shows no object.
pub(crate) fn only_value<'a>(view: &View, image: &'a Image) -> Option<&'a Value> {
    match view.projection {
        Some(Projection::Value(attnum)) => Some(image.by_attnum(attnum).unwrap_or(&Value::Null)),
        Some(Projection::Object(_)) | None => None,
    }
}
