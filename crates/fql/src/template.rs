//! A driver's query: pieces of text with values between them.
//!
//! The drivers send `{"fql":["Product.byName(", {"value": "limes"}, ")"]}`, nested as deep as their
//! users composed queries. The pieces are joined to one text in which each value is a placeholder
//! that cannot be typed, so that a value is never read as FQL.

use event_source_model::query::{Constant, Span};
use serde_json::{Map, Value};

use crate::tagged;

/// Stands in the text for a value: as nobody can write it, but of a length that can be underlined.
pub const PLACE: &str = "\0value>";

/// How deep objects, arrays and queries in queries go.
const DEEPEST: u8 = 32;

/// A query's text and what its placeholders stand for, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    pub text: String,
    values: Vec<(u32, Constant)>,
}

/// Why a body is no query; the message says what was there instead.
pub type Invalid = String;

impl Template {
    /// From the `query` of a request's body.
    ///
    /// # Errors
    /// What is neither a string nor a template.
    pub fn from_json(query: Value) -> Result<Self, Invalid> {
        let mut template = Self::default();
        template.push(query, false, 0)?;
        Ok(template)
    }

    /// What stands at a placeholder.
    pub fn value(&self, span: Span) -> Option<&Constant> {
        let at = self.values.binary_search_by_key(&span.start, |(at, _)| *at).ok()?;
        Some(&self.values[at].1)
    }

    /// A piece inside an array or an object has names of its own, so it is put into parentheses.
    fn push(&mut self, piece: Value, alone: bool, depth: u8) -> Result<(), Invalid> {
        if depth == DEEPEST {
            return Err("The query is nested too deeply".to_owned());
        }
        match piece {
            Value::String(text) if text.contains('\0') => {
                Err("FQL strings cannot contain NUL characters".to_owned())
            }
            Value::String(text) => self.grouped(alone, |template| {
                template.text.push_str(&text);
                Ok(())
            }),
            Value::Object(mut fields) if fields.len() == 1 => {
                let (kind, inner) = fields.iter_mut().next().expect("it has one field");
                match (kind.as_str(), inner.take()) {
                    ("fql", Value::Array(pieces)) => self.grouped(alone, |template| {
                        pieces
                            .into_iter()
                            .try_for_each(|piece| template.push(piece, false, depth + 1))
                    }),
                    ("value", value) => self.push_value(value),
                    ("array", Value::Array(items)) => self.push_array(items, depth),
                    ("object", Value::Object(fields)) => self.push_object(fields, depth),
                    _ => Err(unexpected()),
                }
            }
            _ => Err(unexpected()),
        }
    }

    fn grouped(
        &mut self,
        alone: bool,
        push: impl FnOnce(&mut Self) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        if alone {
            self.text.push_str("(\n");
        }
        push(self)?;
        if alone {
            self.text.push_str("\n)");
        }
        Ok(())
    }

    fn push_value(&mut self, value: Value) -> Result<(), Invalid> {
        let constant = tagged::constant(value)?;
        self.values.push((self.text.len() as u32, constant));
        self.text.push_str(PLACE);
        Ok(())
    }

    fn push_array(&mut self, items: Vec<Value>, depth: u8) -> Result<(), Invalid> {
        self.text.push('[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.text.push_str(", ");
            }
            self.push(item, true, depth + 1)?;
        }
        self.text.push(']');
        Ok(())
    }

    fn push_object(&mut self, fields: Map<String, Value>, depth: u8) -> Result<(), Invalid> {
        self.text.push('{');
        for (at, (name, value)) in fields.into_iter().enumerate() {
            let name = crate::ast::Quoted(&name).to_string();
            let comma = if at > 0 { ", " } else { " " };
            self.text.push_str(&format!("{comma}{name}: "));
            self.push(value, true, depth + 1)?;
        }
        self.text.push_str(" }");
        Ok(())
    }
}

fn unexpected() -> Invalid {
    "Expected a string or an object with a single key 'fql', 'value', 'array', or 'object'"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(query: Value) -> String {
        shown(&Template::from_json(query).expect("it is a template").text)
    }

    fn shown(text: &str) -> String {
        text.replace('\0', "<")
    }

    #[test]
    fn values_are_kept_out_of_the_text() {
        let query =
            json!({"fql": ["a(", {"value": "x\") || (\""}, ", ", {"value": {"@int": "1"}}, ")"]});
        let template = Template::from_json(query).expect("it is a template");
        assert_eq!(shown(&template.text), "a(<value>, <value>)");
        let second = template.text.rfind('\0').expect("it is there") as u32;
        let span = Span { start: second, end: second + 7 };
        assert_eq!(template.value(span), Some(&Constant::Number("1".to_owned())));
    }

    #[test]
    fn queries_nest_in_queries_and_in_objects() {
        let inner = json!({"fql": ["Product.all()"]});
        assert_eq!(text(json!({"fql": [inner, ".first()"]})), "Product.all().first()");
        let object = json!({"object": {"p": inner, "n": {"value": 1}}});
        assert_eq!(text(object), "{ \"p\": (\nProduct.all()\n), \"n\": <value> }");
    }

    #[test]
    fn what_nobody_can_mean_is_refused() {
        for query in
            [json!(1), json!({}), json!({"fql": "x"}), json!({"a": 1, "b": 2}), json!("\0")]
        {
            assert!(Template::from_json(query.clone()).is_err(), "{query}");
        }
        let mut deep = json!("1");
        for _ in 0..100 {
            deep = json!({"fql": [deep]});
        }
        assert!(Template::from_json(deep).is_err());
    }
}
