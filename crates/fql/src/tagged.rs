//! Values as drivers send them: `{"@int":"1"}` and its kin, or plain JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event_source_model::query::Constant;
use serde_json::{Map, Value};

use crate::template::Invalid;

/// Reads one. JSON that came in is no deeper than its parser allows.
///
/// # Errors
/// A tag that is not known, or whose value is not what it says.
pub fn constant(value: Value) -> Result<Constant, Invalid> {
    Ok(match value {
        Value::Null => Constant::Null,
        Value::Bool(b) => Constant::Bool(b),
        Value::Number(number) => Constant::Number(number.to_string()),
        Value::String(text) => Constant::Text(text),
        Value::Array(items) => {
            Constant::Array(items.into_iter().map(constant).collect::<Result<_, _>>()?)
        }
        Value::Object(mut fields) => match tag(&fields) {
            None => object(fields)?,
            Some(tag) => {
                let value = fields.remove(&tag).unwrap_or_default();
                tagged(&tag, value)?
            }
        },
    })
}

/// The tag of an object that has nothing else.
fn tag(fields: &Map<String, Value>) -> Option<String> {
    let mut names = fields.keys();
    match (names.next(), names.next()) {
        (Some(name), None) if name.starts_with('@') => Some(name.clone()),
        _ => None,
    }
}

fn object(fields: Map<String, Value>) -> Result<Constant, Invalid> {
    let fields = fields.into_iter().map(|(name, value)| Ok((name, constant(value)?)));
    Ok(Constant::Object(fields.collect::<Result<_, Invalid>>()?))
}

fn tagged(tag: &str, value: Value) -> Result<Constant, Invalid> {
    let invalid = || format!("Invalid value for tag {tag}");
    let text = match (tag, value) {
        ("@object", Value::Object(fields)) => return object(fields),
        ("@array", Value::Array(items)) => return constant(Value::Array(items)),
        // A document or a reference to one is its key.
        ("@doc" | "@ref", Value::Object(mut fields)) => {
            let key = fields.remove("id").or_else(|| fields.remove("name"));
            return key.ok_or_else(invalid).and_then(constant);
        }
        (_, Value::String(text)) => text,
        _ => return Err(invalid()),
    };
    Ok(match tag {
        "@int" | "@long" => Constant::Number(integer(&text).ok_or_else(invalid)?),
        "@double" if matches!(&*text, "NaN" | "Infinity" | "-Infinity") => {
            Constant::NotFinite(text)
        }
        "@double" => Constant::Number(finite(text).ok_or_else(invalid)?),
        "@time" => Constant::Time(text),
        "@date" => Constant::Date(text),
        "@bytes" => Constant::Bytes(STANDARD.decode(text).map_err(|_| invalid())?),
        "@uuid" => Constant::Uuid(text),
        "@stream" => Constant::Token(text),
        _ => return Err(format!("Unknown tag {tag}")),
    })
}

fn integer(text: &str) -> Option<String> {
    text.parse::<i64>().ok().map(|number| number.to_string())
}

/// A number that JSON would also take for one.
fn finite(text: String) -> Option<String> {
    serde_json::from_str::<serde_json::Number>(&text).is_ok().then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(text: &str) -> Constant {
        Constant::Number(text.to_owned())
    }

    #[test]
    fn each_tag_has_its_kind() {
        let cases = [
            (json!(null), Constant::Null),
            (json!({"@int": "7"}), number("7")),
            (json!({"@long": "9007199254740993"}), number("9007199254740993")),
            (json!({"@double": "1.5e3"}), number("1.5e3")),
            (json!({"@double": "NaN"}), Constant::NotFinite("NaN".to_owned())),
            (json!({"@bytes": "aGk="}), Constant::Bytes(b"hi".to_vec())),
            (json!({"@doc": {"id": "3", "coll": {"@mod": "P"}}}), Constant::Text("3".to_owned())),
            (
                json!({"@object": {"@int": "x"}}),
                Constant::Object(vec![("@int".to_owned(), Constant::Text("x".to_owned()))]),
            ),
            (json!([1, "a"]), Constant::Array(vec![number("1"), Constant::Text("a".to_owned())])),
        ];
        for (value, wanted) in cases {
            assert_eq!(constant(value.clone()), Ok(wanted), "{value}");
        }
    }

    #[test]
    fn what_a_tag_does_not_say_is_refused() {
        for value in [
            json!({"@int": "1; DROP TABLE t"}),
            json!({"@int": 1}),
            json!({"@double": "one"}),
            json!({"@bytes": "%"}),
            json!({"@nothing": "1"}),
        ] {
            assert!(constant(value.clone()).is_err(), "{value}");
        }
    }
}
