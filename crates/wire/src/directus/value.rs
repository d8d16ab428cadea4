//! Items as Directus' API writes them: 64-bit and decimal numbers as strings, instants with milliseconds.

use event_source_model::event::View;
use event_source_model::image::{Image, Key};
use event_source_model::time;
use event_source_model::value::Value;

use crate::json;
use crate::plain::{self, Numbers};
use crate::shown::fields;

/// Appends an item: the first `most` of what the view shows, or all of it.
pub fn item(out: &mut String, view: &View, image: &Image, most: Option<usize>) {
    let fields = fields(view, image).take(most.unwrap_or(usize::MAX));
    object(out, fields.map(|field| (field.name, field.value)));
}

/// Appends a key as it stands in the item. Directus has none of several columns; here it is one text.
pub fn key(out: &mut String, key: Option<&Key>) {
    match key.map(|key| key.0.as_slice()) {
        None => out.push_str("null"),
        Some([single]) => value(out, single),
        Some(_) => key_text(out, key),
    }
}

/// Appends a key as a string, whatever its type.
pub fn key_text(out: &mut String, key: Option<&Key>) {
    match key {
        None => out.push_str("null"),
        Some(key) => json::string(out, &key.text()),
    }
}

/// Appends a value.
pub fn value(out: &mut String, value: &Value) {
    match value {
        Value::Timestamptz(micros) => json::string(out, &time::timestamptz_millis(*micros)),
        Value::Array(items) => {
            json::list(out, items, self::value);
        }
        Value::Object(fields) => object(out, fields.iter().map(|(name, v)| (name.as_str(), v))),
        other => plain::value(out, other, Numbers::Text),
    }
}

fn object<'a>(out: &mut String, fields: impl Iterator<Item = (&'a str, &'a Value)>) {
    out.push('{');
    for (at, (name, field)) in fields.enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::name(out, name);
        value(out, field);
    }
    out.push('}');
}
