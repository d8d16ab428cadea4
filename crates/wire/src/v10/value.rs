//! Fauna's tagged values: `{"@int":"1"}` and its kin.
//!
//! What the tags cannot say (a time before year 1, a number with more digits than a double) is a
//! plain string: no value is ever changed to fit.

use event_source_model::event::View;
use event_source_model::image::{Image, Key};
use event_source_model::time;
use event_source_model::value::{Value, uuid_text};

use super::json::tagged as tagged_json;
use crate::number::Kind;
use crate::shown::{fields, only_value};
use crate::tags::{self, tagged};
use crate::{json, number};

/// Appends a row: a document, or a plain object when it is projected or has no key to be known by.
pub fn data(out: &mut String, view: &View, image: &Image, txn_ts: i64) {
    if let Some(only) = only_value(view, image) {
        return value(out, only);
    }
    let fields = fields(view, image);
    if view.fields.is_some() || image.shape.key.is_empty() {
        // What a projection names is there, null or not; a document has no nulls.
        let nulls = view.projection.is_some();
        let shown = fields.filter(|field| nulls || !field.value.is_null());
        return object(out, shown.map(|field| (field.name, field.value)), value);
    }
    out.push_str("{\"@doc\":{\"id\":");
    id(out, image);
    out.push_str(",\"coll\":{\"@mod\":");
    json::string(out, &view.collection);
    out.push_str("},\"ts\":");
    tagged_instant(out, txn_ts);
    for field in fields {
        let taken = matches!(field.name, "id" | "coll" | "ts" | "ref");
        if !taken && !field.value.is_null() {
            out.push(',');
            json::name(out, field.name);
            value(out, field.value);
        }
    }
    out.push_str("}}");
}

/// Appends a value.
pub fn value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) | Value::BigInt(n) => {
            let tag = if i32::try_from(*n).is_ok() { "@int" } else { "@long" };
            out.push_str("{\"");
            out.push_str(tag);
            out.push_str("\":\"");
            json::integer(out, *n);
            out.push_str("\"}");
        }
        Value::Float4(_) | Value::Float8(_) => double(out, value),
        Value::Numeric(text) if number::is_finite(text) => digits(out, text),
        Value::Numeric(text) => tagged(out, "@double", text),
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
            tagged_instant(out, micros + time::EPOCH_MICROS);
        }
        Value::Timestamptz(micros) => json::string(out, &time::timestamptz(*micros)),
        Value::Json(text) => tagged_json(out, text),
        Value::Array(items) => {
            json::list(out, items, self::value);
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, field)| !field.is_null());
            object(out, fields.map(|(name, field)| (name.as_str(), field)), self::value);
        }
    }
}

/// Appends the id of a document.
fn id(out: &mut String, image: &Image) {
    if let [only] = *image.shape.key
        && let Value::Int(n) | Value::BigInt(n) = image.values[usize::from(only)]
    {
        out.push('"');
        json::integer(out, n);
        out.push('"');
    } else {
        json::string(out, &image.key().as_ref().map(Key::text).unwrap_or_default());
    }
}

/// Appends an instant under its tag. Microseconds since 1970.
fn tagged_instant(out: &mut String, micros: i64) {
    out.push_str("{\"@time\":\"");
    time::write_unix_instant(out, micros);
    out.push_str("\"}");
}

/// Appends a finite number given by its digits.
pub(crate) fn digits(out: &mut String, text: &str) {
    match number::kind(text) {
        Kind::Int => tagged(out, "@int", text),
        Kind::Long => tagged(out, "@long", text),
        Kind::Double => tagged(out, "@double", text),
        Kind::Inexact => json::string(out, text),
    }
}

fn double(out: &mut String, value: &Value) {
    let mut text = String::new();
    match value {
        Value::Float4(f) if f.is_finite() => number::float(&mut text, *f),
        Value::Float8(f) if f.is_finite() => number::float(&mut text, *f),
        special => text = special.text().unwrap_or_default(),
    }
    tagged(out, "@double", &text);
}

/// Appends an object, wrapped when a name could be taken for a tag.
pub(crate) fn object<'a, T>(
    out: &mut String,
    fields: impl Iterator<Item = (&'a str, T)> + Clone,
    mut value: impl FnMut(&mut String, T),
) {
    let wrap = fields.clone().any(|(name, _)| name.starts_with('@'));
    out.push_str(if wrap { "{\"@object\":{" } else { "{" });
    for (at, (name, field)) in fields.enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::name(out, name);
        value(out, field);
    }
    out.push_str(if wrap { "}}" } else { "}" });
}
