//! Columns as LoopBack's JSON: plain, with all digits of numbers, and instants as `JSON.stringify` has them.

use event_source_model::event::View;
use event_source_model::image::{Image, Key};
use event_source_model::time;
use event_source_model::value::Value;

use crate::json;
use crate::plain::{self, Numbers};
use crate::shown::{fields, only_value};

/// Appends what a view shows of a row.
pub fn data(out: &mut String, view: &View, image: &Image) {
    if let Some(only) = only_value(view, image) {
        return value(out, only);
    }
    out.push('{');
    for (at, field) in fields(view, image).enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::name(out, field.name);
        value(out, field.value);
    }
    out.push('}');
}

/// Appends a key: a single column's value, or an array of several.
pub fn key(out: &mut String, key: &Key) {
    match key.0.as_slice() {
        [single] => value(out, single),
        several => array(out, several),
    }
}

/// Appends a value.
pub fn value(out: &mut String, value: &Value) {
    match value {
        Value::Timestamp(micros) => json::string(out, &with_millis(time::timestamp(*micros))),
        Value::Timestamptz(micros) => json::string(out, &with_millis(time::timestamptz(*micros))),
        Value::Array(items) => array(out, items),
        other => plain::value(out, other, Numbers::Digits),
    }
}

fn array(out: &mut String, items: &[Value]) {
    json::list(out, items, value);
}

/// The form of `Date.toJSON`, which has milliseconds always; microseconds are kept where there are any.
fn with_millis(text: String) -> String {
    const CLOCK: usize = "Thh:mm:ss".len();
    // An infinity has no clock.
    let Some(clock) = text.find('T') else { return text };
    let (whole, rest) = text.split_at(clock + CLOCK);
    let fraction = rest.strip_prefix('.').unwrap_or(rest);
    let digits = if fraction.len() < rest.len() {
        fraction.bytes().take_while(u8::is_ascii_digit).count()
    } else {
        0
    };
    let (fraction, zone) = fraction.split_at(digits);
    format!("{whole}.{fraction:0<3}{zone}")
}

#[cfg(test)]
mod tests {
    use super::with_millis;

    #[test]
    fn an_instant_has_milliseconds_and_keeps_microseconds() {
        for (text, expected) in [
            ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05.000Z"),
            ("2020-01-02T03:04:05.5", "2020-01-02T03:04:05.500"),
            ("2020-01-02T03:04:05", "2020-01-02T03:04:05.000"),
            ("2020-01-02T03:04:05.000001Z", "2020-01-02T03:04:05.000001Z"),
            ("0044-03-15T00:00:00Z BC", "0044-03-15T00:00:00.000Z BC"),
            ("-infinity", "-infinity"),
        ] {
            assert_eq!(with_millis(text.to_owned()), expected);
        }
    }
}
