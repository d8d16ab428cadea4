//! Values in plain JSON: what `row_to_json` users expect, the same in every session.

use event_source_model::event::View;
use event_source_model::image::{Image, Key};
use event_source_model::time;
use event_source_model::value::{Value, uuid_text};

use crate::shown::{Field, fields, only_value};
use crate::{json, number};

/// How `bigint` and `numeric` are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// As JSON numbers, with all digits.
    #[default]
    Digits,
    /// As strings, for readers whose numbers are doubles.
    Text,
}

/// Appends a row as an object; `null` when there is no row.
pub fn data(out: &mut String, view: &View, image: Option<&Image>, numbers: Numbers) {
    let Some(image) = image else { return out.push_str("null") };
    match only_value(view, image) {
        Some(only) => value(out, only, numbers),
        None => object(out, fields(view, image).map(named), numbers),
    }
}

/// Appends the new values of the shown columns that differ.
pub fn diff(out: &mut String, view: &View, before: &Image, after: &Image, numbers: Numbers) {
    let changed = fields(view, after).filter(|field| {
        // A column added in between was null before.
        before.by_attnum(field.attnum).unwrap_or(&Value::Null) != field.value
    });
    object(out, changed.map(named), numbers);
}

fn named(field: Field<'_>) -> (&str, &Value) {
    (field.name, field.value)
}

/// Appends a key: a single column's value, or an array of several; `null` without one.
pub fn key(out: &mut String, key: Option<&Key>, numbers: Numbers) {
    match key.map(|k| k.0.as_slice()) {
        None => out.push_str("null"),
        Some([single]) => value(out, single, numbers),
        Some(several) => array(out, several, numbers),
    }
}

/// Appends a value.
pub fn value(out: &mut String, value: &Value, numbers: Numbers) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => json::integer(out, *n),
        Value::BigInt(n) if numbers == Numbers::Digits => json::integer(out, *n),
        Value::BigInt(n) => {
            out.push('"');
            json::integer(out, *n);
            out.push('"');
        }
        Value::Float4(f) if f.is_finite() => number::float(out, *f),
        Value::Float8(f) if f.is_finite() => number::float(out, *f),
        Value::Numeric(n) if numbers == Numbers::Digits && number::is_finite(n) => out.push_str(n),
        Value::Float4(_) | Value::Float8(_) => {
            json::string(out, &value.text().unwrap_or_default());
        }
        Value::Numeric(text) | Value::Text(text) => json::string(out, text),
        Value::Bytes(bytes) => json::base64(out, bytes),
        Value::Uuid(uuid) => json::string(out, &uuid_text(uuid)),
        Value::Date(days) => json::string(out, &time::date(*days)),
        Value::Timestamp(micros) => json::string(out, &time::timestamp(*micros)),
        Value::Timestamptz(micros) => json::string(out, &time::timestamptz(*micros)),
        Value::Json(text) => json::inline(out, text),
        Value::Array(items) => array(out, items, numbers),
        Value::Object(fields) => object(out, fields.iter().map(|(n, v)| (n.as_str(), v)), numbers),
    }
}

fn array(out: &mut String, items: &[Value], numbers: Numbers) {
    json::list(out, items, |out, item| value(out, item, numbers));
}

fn object<'a>(
    out: &mut String,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    numbers: Numbers,
) {
    out.push('{');
    for (at, (name, field)) in fields.enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::name(out, name);
        value(out, field, numbers);
    }
    out.push('}');
}
