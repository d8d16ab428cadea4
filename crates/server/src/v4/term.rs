//! Values as requests write them: the terms of an index.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use event_source_model::query::Constant;
use event_source_wire::v4::answer;
use event_source_wire::v4::error::Wrong;
use serde_json::Value;

use super::expression::{self, Expression};

/// A value, and how an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) constant: Constant,
    pub(super) shown: String,
}

/// One value, or several in an array: an array of one is that one.
pub(super) fn terms(value: &Value) -> Result<Vec<Term>, Wrong> {
    match value {
        Value::Array(items) => items.iter().map(term).collect(),
        one => Ok(vec![term(one)?]),
    }
}

fn term(value: &Value) -> Result<Term, Wrong> {
    let constant = match value {
        Value::Null => Constant::Null,
        Value::Bool(b) => Constant::Bool(*b),
        Value::Number(n) => Constant::Number(n.to_string()),
        Value::String(text) => Constant::Text(text.clone()),
        Value::Array(_) => return Err(not_a_term("Array")),
        Value::Object(fields) => {
            let mut only = fields.iter();
            match (only.next(), only.next()) {
                (Some((name, Value::String(text))), None) => match name.as_str() {
                    "time" | "@ts" => Constant::Time(text.clone()),
                    "date" | "@date" => Constant::Date(text.clone()),
                    "@uuid" => Constant::Uuid(text.clone()),
                    "bytes" | "@bytes" => Constant::Bytes(bytes(text)?),
                    _ => return reference(value),
                },
                _ => return reference(value),
            }
        }
    };
    let mut shown = String::new();
    answer::constant(&mut shown, &constant);
    Ok(Term { constant, shown })
}

/// A document by its ref: what other tables keep of it is its key.
fn reference(value: &Value) -> Result<Term, Wrong> {
    match expression::read(value)? {
        Expression::Document { collection, id } => {
            let mut shown = String::new();
            answer::reference(&mut shown, &collection, &id);
            Ok(Term { constant: Constant::Text(id), shown })
        }
        other => Err(not_a_term(other.kind())),
    }
}

/// Either alphabet, with padding or without: drivers differ.
fn bytes(text: &str) -> Result<Vec<u8>, Wrong> {
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(alphabet, lenient).decode(text);
    decoded.map_err(|_| Wrong::expression("bytes must be base64"))
}

fn not_a_term(kind: &str) -> Wrong {
    Wrong::argument(format!("Expected a scalar as a term, got {kind}."))
}
