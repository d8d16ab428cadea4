//! Typed values: `{"@ts":"…Z"}` and its kin.
//!
//! What the tags cannot say (a time before year 1, a number with more digits than a double) is a plain
//! string: no value is ever changed to fit. An object with a name that the drivers take for one of
//! their own tags, and fail on, is the string of its JSON.

use event_source_model::event::View;
use event_source_model::image::{Image, Key};
use event_source_model::time;
use event_source_model::value::{Value, uuid_text};

use super::json as documents;
use crate::json::{self, plain};
use crate::number::{self, Kind};
use crate::shown::{Field, fields};
use crate::tags::{self, tagged};

/// How a name may stand in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Naming {
    Plain,
    /// It begins as a tag does: the object is wrapped in `@obj`.
    Wrapped,
    /// It is a tag of the drivers', who look for it in every object, wrapped or not.
    Misread,
}

impl Naming {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "@ref" | "@obj" | "@set" | "@ts" | "@date" | "@bytes" | "@query" => Self::Misread,
            name if name.starts_with('@') => Self::Wrapped,
            _ => Self::Plain,
        }
    }
}

/// Appends what is shown of a row's columns. The document's ref says the key: a column `id` that is all of
/// it is not said again. Null is what is not there.
pub(super) fn data(out: &mut String, view: &View, image: &Image) {
    let shown = data_fields(view, image).filter(|field| !field.value.is_null());
    let shown: Vec<Field<'_>> = shown.collect();
    object(out, shown.iter().map(|field| (field.name, field.value)), value);
}

/// The columns that are a document's data.
pub(super) fn data_fields<'a>(view: &'a View, image: &'a Image) -> impl Iterator<Item = Field<'a>> {
    let key = match image.shape.key.as_slice() {
        [only] => Some(&image.shape.columns[usize::from(*only)]).filter(|key| key.name == "id"),
        _ => None,
    };
    let key = key.map(|key| key.attnum);
    fields(view, image).filter(move |field| Some(field.attnum) != key)
}

/// Appends the ref of a document, null where there is none: a ref has an id, and it is not empty.
pub(super) fn document_ref(out: &mut String, collection: &str, key: Option<&Key>) {
    match key.map(Key::text).filter(|id| !id.is_empty()) {
        Some(id) => document_ref_of(out, collection, &id),
        None => out.push_str("null"),
    }
}

/// Appends the ref of the document with that id.
pub(super) fn document_ref_of(out: &mut String, collection: &str, id: &str) {
    out.push_str("{\"@ref\":{\"id\":");
    json::string(out, id);
    out.push_str(",\"collection\":");
    native_ref(out, collection, "collections");
    out.push_str("}}");
}

/// Appends the ref of something of the schema: of a kind like `collections` or `indexes`.
pub(super) fn native_ref(out: &mut String, name: &str, kind: &str) {
    out.push_str("{\"@ref\":{\"id\":");
    json::string(out, name);
    plain(out, format_args!(",\"collection\":{{\"@ref\":{{\"id\":\"{kind}\"}}}}}}}}"));
}

/// Appends a value.
pub fn value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => plain(out, b),
        Value::Int(n) | Value::BigInt(n) => plain(out, n),
        Value::Float4(f) if f.is_finite() => double(out, |out| number::float(out, *f)),
        Value::Float8(f) if f.is_finite() => double(out, |out| number::float(out, *f)),
        Value::Float4(_) | Value::Float8(_) => {
            json::string(out, &value.text().unwrap_or_default());
        }
        Value::Numeric(text) => digits(out, text),
        Value::Text(text) => json::string(out, text),
        Value::Bytes(bytes) => {
            tags::bytes(out, bytes);
        }
        Value::Uuid(uuid) => tagged(out, "@uuid", &uuid_text(uuid)),
        Value::Date(days) if tags::is_readable_date(*days) => {
            tagged(out, "@date", &time::date(*days));
        }
        Value::Date(days) => json::string(out, &time::date(*days)),
        Value::Timestamp(micros) => json::string(out, &time::timestamp(*micros)),
        Value::Timestamptz(micros) if tags::is_readable_instant(*micros) => {
            tagged(out, "@ts", &time::unix_instant(micros + time::EPOCH_MICROS));
        }
        Value::Timestamptz(micros) => json::string(out, &time::timestamptz(*micros)),
        Value::Json(text) => documents::typed(out, text),
        Value::Array(items) => {
            json::list(out, items, self::value);
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, field)| !field.is_null());
            object(out, fields.map(|(name, field)| (name.as_str(), field)), self::value);
        }
    }
}

/// Appends an object: wrapped, or as the string of its JSON, where a name demands it.
pub(super) fn object<'a, T>(
    out: &mut String,
    fields: impl Iterator<Item = (&'a str, T)> + Clone,
    mut value: impl FnMut(&mut String, T),
) {
    let naming = fields.clone().map(|(name, _)| Naming::of(name)).max().unwrap_or(Naming::Plain);
    let mut write = |out: &mut String| {
        out.push('{');
        for (at, (name, field)) in fields.clone().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json::name(out, name);
            value(out, field);
        }
        out.push('}');
    };
    match naming {
        Naming::Plain => write(out),
        Naming::Wrapped => {
            out.push_str("{\"@obj\":");
            write(out);
            out.push('}');
        }
        Naming::Misread => {
            let mut text = String::new();
            write(&mut text);
            json::string(out, &text);
        }
    }
}

/// Appends a number given by its digits; `NaN` and what no double holds is a string.
pub(super) fn digits(out: &mut String, text: &str) {
    let is_finite = text.ends_with(|c: char| c.is_ascii_digit());
    match number::kind(text) {
        Kind::Int | Kind::Long | Kind::Double if is_finite => out.push_str(text),
        Kind::Int | Kind::Long | Kind::Double | Kind::Inexact => json::string(out, text),
    }
}

/// A double has a point, so that a reader who knows two kinds of numbers makes the right one of it.
fn double(out: &mut String, write: impl FnOnce(&mut String)) {
    let begin = out.len();
    write(out);
    if !out[begin..].contains(['.', 'e']) {
        out.push_str(".0");
    }
}
