//! What of a document changed: the fields that were added or have another value, those that are gone as
//! null; of objects the same within, arrays whole.

use event_source_model::event::View;
use event_source_model::image::Image;
use event_source_model::value::Value;

use super::json::{self as documents, members};
use super::value::{data_fields, object, value};

/// Within how many objects of one value differences are looked for; what is deeper is shown whole.
const DEPTH: usize = 32;

/// One field, before and after.
#[derive(Clone, Copy)]
struct Changed<'a> {
    name: &'a str,
    before: &'a Value,
    after: &'a Value,
}

/// Appends `,"data":{…}` with what differs, nothing if nothing does.
pub(super) fn data(out: &mut String, view: &View, before: &Image, after: &Image) {
    let mut changed = Vec::new();
    for field in data_fields(view, after) {
        let before = before.by_attnum(field.attnum).unwrap_or(&Value::Null);
        if before != field.value {
            changed.push(Changed { name: field.name, before, after: field.value });
        }
    }
    for field in data_fields(view, before) {
        if after.by_attnum(field.attnum).is_none() && !field.value.is_null() {
            changed.push(Changed { name: field.name, before: field.value, after: &Value::Null });
        }
    }
    if !changed.is_empty() {
        out.push_str(",\"data\":");
        fields(out, &changed, 0);
    }
}

fn fields(out: &mut String, changed: &[Changed<'_>], depth: usize) {
    object(out, changed.iter().map(|one| (one.name, one)), |out, one| {
        difference(out, one.before, one.after, depth);
    });
}

fn difference(out: &mut String, before: &Value, after: &Value, depth: usize) {
    match (before, after) {
        (Value::Json(before), Value::Json(after)) => json_difference(out, before, after, depth),
        (Value::Object(before), Value::Object(after)) if depth < DEPTH => {
            let null = &Value::Null;
            let of = |fields: &'_ [(String, Value)], name: &str| {
                fields.iter().position(|(other, _)| other == name)
            };
            let mut changed: Vec<Changed<'_>> = Vec::new();
            for (name, after) in after {
                let before = of(before, name).map_or(null, |at| &before[at].1);
                if before != after {
                    changed.push(Changed { name, before, after });
                }
            }
            for (name, before) in before.iter().filter(|(name, _)| of(after, name).is_none()) {
                changed.push(Changed { name, before, after: null });
            }
            fields(out, &changed, depth + 1);
        }
        _ => value(out, after),
    }
}

/// Both texts are JSON; equal values may be written otherwise in `json`, and then count as changed.
fn json_difference(out: &mut String, before: &str, after: &str, depth: usize) {
    let (Some(old), Some(new)) = (members(before), members(after)) else {
        return documents::typed(out, after);
    };
    if depth >= DEPTH {
        return documents::typed(out, after);
    }
    let names = |name: &str| serde_json::from_str::<String>(name).unwrap_or_default();
    let of = |members: &[(&str, &str)], name: &str| members.iter().position(|(n, _)| *n == name);
    let mut changed: Vec<(String, Option<&str>, &str)> = Vec::new();
    for (name, after) in &new {
        let before = of(&old, name).map(|at| old[at].1);
        if before != Some(*after) {
            changed.push((names(name), before, after));
        }
    }
    for (name, before) in old.iter().filter(|(name, _)| of(&new, name).is_none()) {
        changed.push((names(name), Some(before), "null"));
    }
    object(out, changed.iter().map(|one| (one.0.as_str(), one)), |out, (_, before, after)| {
        match before {
            Some(before) => json_difference(out, before, after, depth + 1),
            None => documents::typed(out, after),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(before: &str, after: &str) -> String {
        let mut out = String::new();
        json_difference(&mut out, before, after, 0);
        out
    }

    #[test]
    fn objects_differ_within_and_arrays_as_a_whole() {
        assert_eq!(
            between(
                r#"{"a": 1, "b": {"c": [1], "d": 2, "e": 3}, "f": 4}"#,
                r#"{"a": 1, "b": {"c": [1, 2], "d": 2}, "g": {"@x": 5}}"#
            ),
            r#"{"b":{"c":[1,2],"e":null},"g":{"@obj":{"@x":5}},"f":null}"#
        );
        assert_eq!(between("[1]", "[2]"), "[2]");
        assert_eq!(between(r#"{"a": 1}"#, "7"), "7");
    }

    #[test]
    fn what_is_too_deep_is_shown_whole() {
        let deep = |n: &str| "{\"a\":".repeat(100) + n + &"}".repeat(100);
        assert_eq!(between(&deep("1"), &deep("2")), deep("2"));
    }
}
