//! What a request asks for, in each of the forms that LoopBack reads: JSON in the query, `options[where][foo]=x`,
//! a JSON body, a form.
//!
//! A `where` that is not inside `options` is none, as in LoopBack: its clients rely on what works there.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use event_source_model::query::{Name, Shown, Span, Test};
use event_source_wire::loopback::change::{Options, Output};
use event_source_wire::loopback::error::Problem;
use serde_json::{Map, Value};
use serde_qs::Config;

use super::condition;

/// Deeper than anybody writes by hand, and than LoopBack itself reads.
const DEEPEST: usize = 32;
const MOST_FIELDS: usize = 1600;

type Object = Map<String, Value>;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub test: Option<Test>,
    pub shown: Shown,
    pub options: Options,
    pub access_token: Option<String>,
}

impl Asked {
    /// Reads the query and the body. Where both have options those of the body count.
    ///
    /// # Errors
    /// What cannot be read, or is not known.
    pub(super) fn read(
        query: Option<&str>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let mut query = form(query.unwrap_or_default().as_bytes())?;
        let mut posted = posted(headers, body)?;
        let options = [&mut posted, &mut query].into_iter().find_map(|from| from.remove("options"));
        let access_token = text(query.remove("access_token")).filter(|token| !token.is_empty());
        let format = text(query.remove("_format"));
        let mut asked = Self {
            test: None,
            shown: Shown::Document,
            options: Options { output: output(format.as_deref(), headers), exact: false },
            access_token,
        };
        for (name, value) in object(options)? {
            asked.option(&name, value)?;
        }
        Ok(asked)
    }

    fn option(&mut self, name: &str, value: Value) -> Result<(), Problem> {
        match (name, value) {
            // An event is a list of one: to be sorted, and cut behind its first.
            ("order", _) | ("where" | "fields" | "limit" | "skip" | "offset", Value::Null) => {}
            ("limit", value) if count(&value).is_some_and(|n| n > 0) => {}
            ("skip" | "offset", value) if count(&value) == Some(0) => {}
            ("limit" | "skip" | "offset", _) => {
                return Err(Problem::invalid(format!("\"{name}\" would leave no event")));
            }
            ("where", value) => {
                let conditions = object(Some(value))?;
                self.test = condition::test(&conditions).map_err(Problem::invalid)?;
            }
            ("fields", value) => self.shown = fields(value)?,
            ("exact", Value::Bool(exact)) => self.options.exact = exact,
            ("exact", Value::String(text)) if text == "true" => self.options.exact = true,
            ("exact", Value::String(text)) if text == "false" => {}
            ("exact", _) => return Err(Problem::invalid("\"exact\" must be true or false")),
            _ => return Err(Problem::invalid(format!("unknown option \"{name}\""))),
        }
        Ok(())
    }
}

/// The pairs of a query or a form, nested as their names say.
fn form(text: &[u8]) -> Result<Object, Problem> {
    let config = Config::new().max_depth(DEEPEST).use_form_encoding(true);
    let read = config.deserialize_bytes(text);
    read.map_err(|error| Problem::invalid(format!("the parameters cannot be read: {error}")))
}

fn posted(headers: &HeaderMap, body: &[u8]) -> Result<Object, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if body.is_empty() {
        return Ok(Object::new());
    }
    if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return form(body);
    }
    serde_json::from_slice(body).map_err(|_| Problem::invalid("the body is not a JSON object"))
}

/// An object, or the JSON text of one; nothing is one without a field.
fn object(value: Option<Value>) -> Result<Object, Problem> {
    let not_an_object = || Problem::invalid("Value is not an object.");
    match value {
        None | Some(Value::Null) => Ok(Object::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(Value::String(text)) if text.is_empty() => Ok(Object::new()),
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::Null) => Ok(Object::new()),
            _ => Err(not_an_object()),
        },
        Some(_) => Err(not_an_object()),
    }
}

/// The columns to be shown: their names, or an object that says true of each.
fn fields(value: Value) -> Result<Shown, Problem> {
    let wrong = || Problem::invalid("\"fields\" must be a list of names");
    let names: Vec<String> = match value {
        Value::String(name) => vec![name],
        Value::Array(names) => {
            let names = names.into_iter().map(|name| text(Some(name)));
            names.collect::<Option<_>>().ok_or_else(wrong)?
        }
        Value::Object(names) => {
            let is_true = |value: &Value| *value == Value::Bool(true) || *value == "true";
            if let Some((name, _)) = names.iter().find(|(_, value)| !is_true(value)) {
                let message =
                    format!("\"fields\" must name what is shown, not leave out \"{name}\"");
                return Err(Problem::invalid(message));
            }
            names.into_iter().map(|(name, _)| name).collect()
        }
        _ => return Err(wrong()),
    };
    if names.len() > MOST_FIELDS {
        return Err(wrong());
    }
    if names.is_empty() {
        return Ok(Shown::Document);
    }
    let mut shown: Vec<(String, Name)> = Vec::new();
    for name in names {
        if !shown.iter().any(|(known, _)| *known == name) {
            shown.push((name.clone(), Name { text: name, span: Span::default() }));
        }
    }
    Ok(Shown::Object(shown))
}

/// Server-sent events, unless the client takes JSON and not those.
fn output(format: Option<&str>, headers: &HeaderMap) -> Output {
    match format {
        Some("event-stream") => return Output::Events,
        Some("json") => return Output::Lines,
        _ => {}
    }
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepts
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .peekable();
    let is_taken = kinds.peek().is_none()
        || kinds.any(|kind| matches!(&*kind, "text/event-stream" | "text/*" | "*/*"));
    if is_taken { Output::Events } else { Output::Lines }
}

fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
