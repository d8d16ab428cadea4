//! One column's value, as the log keeps it.
//!
//! A value depends on the row alone: the writer's `TimeZone`, `DateStyle`, `bytea_output` or
//! `search_path` cannot change a byte of it. Types that every wire renders in its own way
//! (integers, floats, instants, bytes) keep their kind; all others are their text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::time;

/// A value of any PostgreSQL type, reduced to what a wire can tell apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    Null,
    Bool(bool),
    /// `smallint` and `integer`, which every JSON reader holds exactly.
    Int(i64),
    /// `bigint`, which some wires must send as text.
    BigInt(i64),
    Float4(f32),
    Float8(f64),
    /// All digits, as `numeric_out` gives them; `NaN`, `Infinity` and `-Infinity` too.
    Numeric(String),
    /// Text, and every type that has no kind of its own here.
    Text(String),
    Bytes(Vec<u8>),
    Uuid([u8; 16]),
    /// Days since 2000-01-01; `i32::MIN` and `i32::MAX` are the infinities.
    Date(i32),
    /// Microseconds since 2000-01-01, no zone; `i64::MIN` and `i64::MAX` are the infinities.
    Timestamp(i64),
    /// Microseconds since 2000-01-01 UTC; `i64::MIN` and `i64::MAX` are the infinities.
    Timestamptz(i64),
    /// `json` or `jsonb`: a JSON text, put inline by every wire.
    Json(String),
    Array(Vec<Value>),
    /// A composite value: its fields in order.
    Object(Vec<(String, Value)>),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Bytes of the value itself: of a text its own, of a number as PostgreSQL stores it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Float4(_) | Self::Date(_) => 4,
            Self::Int(_) | Self::BigInt(_) | Self::Float8(_) => 8,
            Self::Timestamp(_) | Self::Timestamptz(_) => 8,
            Self::Uuid(bytes) => bytes.len(),
            Self::Numeric(text) | Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Array(items) => items.iter().map(Self::bytes).sum(),
            Self::Object(fields) => fields.iter().map(|(n, v)| n.len() + v.bytes()).sum(),
        }
    }

    /// The text form that keys, terms and PostgreSQL's input functions use, `None` for null.
    ///
    /// Arrays and composites are JSON-like here; they are never read back from this form.
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(true) => "true".to_owned(),
            Self::Bool(false) => "false".to_owned(),
            Self::Int(n) | Self::BigInt(n) => n.to_string(),
            Self::Float4(f) => float_text(f64::from(*f), || format!("{f}")),
            Self::Float8(f) => float_text(*f, || format!("{f}")),
            Self::Numeric(s) | Self::Text(s) | Self::Json(s) => s.clone(),
            Self::Bytes(b) => hex_text(b),
            Self::Uuid(u) => uuid_text(u),
            Self::Date(d) => time::date(*d),
            Self::Timestamp(t) => time::timestamp(*t),
            Self::Timestamptz(t) => time::timestamptz(*t),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::text_or_null).collect();
                format!("[{}]", items.join(","))
            }
            Self::Object(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(n, v)| format!("{n}:{}", v.text_or_null())).collect();
                format!("{{{}}}", fields.join(","))
            }
        })
    }

    fn text_or_null(&self) -> String {
        self.text().unwrap_or_else(|| "null".to_owned())
    }
}

/// Equality is that of the stored bytes: NaN equals itself, `0` differs from `-0`.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b))
            | (Self::BigInt(a), Self::BigInt(b))
            | (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::Timestamptz(a), Self::Timestamptz(b)) => a == b,
            (Self::Float4(a), Self::Float4(b)) => a.to_bits() == b.to_bits(),
            (Self::Float8(a), Self::Float8(b)) => a.to_bits() == b.to_bits(),
            (Self::Numeric(a), Self::Numeric(b))
            | (Self::Text(a), Self::Text(b))
            | (Self::Json(a), Self::Json(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// PostgreSQL's spelling of the special values; `digits` writes the shortest exact form.
fn float_text(f: f64, digits: impl FnOnce() -> String) -> String {
    if f.is_nan() {
        "NaN".to_owned()
    } else if f.is_infinite() {
        if f > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        digits()
    }
}

fn hex_text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        write!(out, "{byte:02x}").expect("writing to a String cannot fail");
    }
    out
}

/// The canonical 8-4-4-4-12 form.
pub fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        write!(out, "{byte:02x}").expect("writing to a String cannot fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_floats_are_spelled_as_postgres_spells_them() {
        assert_eq!(Value::Float8(f64::NAN).text().as_deref(), Some("NaN"));
        assert_eq!(Value::Float4(f32::NEG_INFINITY).text().as_deref(), Some("-Infinity"));
        assert_eq!(Value::Float4(0.1).text().as_deref(), Some("0.1"));
    }

    #[test]
    fn nan_equals_itself_so_that_an_unchanged_row_is_unchanged() {
        assert_eq!(Value::Float8(f64::NAN), Value::Float8(f64::NAN));
        assert_ne!(Value::Float8(0.0), Value::Float8(-0.0));
    }

    #[test]
    fn a_uuid_has_its_dashes() {
        assert_eq!(uuid_text(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
