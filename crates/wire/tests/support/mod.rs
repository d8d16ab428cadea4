//! Rows and events for the tests of every wire.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use event_source_model::event::{Event, EventType, View};
use event_source_model::image::{Column, Image, Shape};
use event_source_model::position::Position;
use event_source_model::value::Value;

/// A row whose columns are numbered from 1; the first one is the key if it is called `id`.
pub(crate) fn image(fields: &[(&str, Value)]) -> Image {
    let columns = fields
        .iter()
        .zip(1..)
        .map(|((name, _), attnum)| Column { attnum, name: (*name).to_owned() });
    let key = if fields[0].0 == "id" { vec![0] } else { Vec::new() };
    let shape = Arc::new(Shape { columns: columns.collect(), key });
    Image { shape, values: fields.iter().map(|(_, value)| value.clone()).collect() }
}

pub(crate) fn event(kind: EventType, before: Option<Image>, after: Option<Image>) -> Event {
    let key = after.as_ref().or(before.as_ref()).and_then(Image::key);
    Event { kind, position: Position::at(1000, 0), key, before, after }
}

pub(crate) fn view(fields: Option<Vec<i16>>) -> View {
    View { collection: "Product".to_owned(), fields, projection: None, history: 7 }
}
