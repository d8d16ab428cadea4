//! When two images of a row are the same.

use serde_json::{Map, Value};

/// What of an image counts in comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every column of it.
    Exact,
    /// Of a table whose columns are changed meanwhile: an image has the columns of its time. The
    /// workload never gives a name twice; see [`changing`].
    Changing,
    /// A Fauna document: without the columns that the protocol calls its own, and without nulls.
    Document,
}

impl Form {
    /// The part of an image that is kept and compared, columns in one order.
    #[must_use]
    pub fn normal(self, image: &Value) -> Value {
        let Value::Object(columns) = image else { return image.clone() };
        let mut columns: Vec<(String, Value)> = columns
            .iter()
            .filter(|(name, value)| {
                self != Self::Document
                    || !(value.is_null() || matches!(name.as_str(), "id" | "coll" | "ts"))
            })
            .map(|(name, value)| match self {
                Self::Changing => changing(name, value),
                Self::Exact | Self::Document => (name.clone(), value.clone()),
            })
            .collect();
        columns.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Value::Object(columns.into_iter().collect::<Map<_, _>>())
    }

    /// Whether two normal images may be of one row version.
    #[must_use]
    pub fn agree(self, a: &Value, b: &Value) -> bool {
        match (self, a, b) {
            (Self::Changing, Value::Object(a), Value::Object(b)) => {
                // A column that only one of them has was added or dropped in between.
                let only_there = |a: &Map<String, Value>, b: &Map<String, Value>| {
                    a.keys().all(|name| b.contains_key(name) || name.starts_with("extra_"))
                };
                only_there(a, b)
                    && only_there(b, a)
                    && a.iter().all(|(name, value)| b.get(name).is_none_or(|other| other == value))
            }
            _ => a == b,
        }
    }
}

/// `label_7` is column `label` after its seventh renaming; `measure` is an integer or its text.
fn changing(name: &str, value: &Value) -> (String, Value) {
    let name = if name.starts_with("label_") { "label" } else { name };
    let value = match value {
        Value::Number(number) if name == "measure" => Value::String(number.to_string()),
        other => other.clone(),
    };
    (name.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agree(form: Form, a: &Value, b: &Value) -> bool {
        form.agree(&form.normal(a), &form.normal(b))
    }

    #[test]
    fn a_changing_table_has_the_columns_of_its_time() {
        let before = json!({ "id": 1, "label_1": "a", "measure": 5, "extra_1": 2 });
        for (after, same) in [
            (json!({ "id": 1, "label_2": "a", "measure": "5", "extra_2": 0 }), true),
            (json!({ "id": 1, "label_2": "b", "measure": "5" }), false),
            (json!({ "id": 1, "measure": "5" }), false),
            (json!({ "id": 1, "label_1": "a", "measure": 5, "extra_1": 3 }), false),
        ] {
            assert_eq!(agree(Form::Changing, &before, &after), same, "{after}");
        }
    }

    #[test]
    fn everywhere_else_an_image_is_whole() {
        let (a, b) = (json!({ "v": 1, "id": 1 }), json!({ "id": 1, "v": 1 }));
        assert!(agree(Form::Exact, &a, &b));
        assert!(!agree(Form::Exact, &a, &json!({ "id": 1, "v": 1, "extra_1": 1 })));
        assert!(agree(Form::Document, &json!({ "v": 1, "id": 1, "n": null }), &json!({ "v": 1 })));
        assert!(!agree(Form::Document, &a, &json!({ "v": 2 })));
    }
}
