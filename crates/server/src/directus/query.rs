//! The `query` of a subscription, in the forms of both SDKs: lists or texts with commas, objects or texts of
//! JSON, numbers or their digits.
//!
//! What is not served is refused rather than ignored: a reader would take the items for what it asked for.

use event_source_model::query::Test;
use event_source_wire::directus::error::Problem;
use serde_json::{Map, Value};

use super::filter;
use super::names::Names;

/// Rows in `init` where the query has no limit.
const DEFAULT_LIMIT: u32 = 100;
/// More names than any table has columns.
const MOST_NAMES: usize = 1600;

/// Refused unless empty, and what each would need.
const NOT_SERVED: [(&str, &str); 7] = [
    ("search", "\"search\" is not supported; use \"filter\""),
    ("deep", "\"deep\" is not supported: collections here have no relations"),
    ("alias", "\"alias\" is not supported"),
    ("aggregate", "\"aggregate\" is not supported"),
    ("groupBy", "\"groupBy\" is not supported"),
    ("meta", "\"meta\" is not supported"),
    ("version", "\"version\" is not supported"),
];

#[derive(Debug, Default)]
pub(super) struct Query {
    /// `None` for all of them.
    pub fields: Option<Vec<String>>,
    pub filter: Option<Test>,
    /// Fields, and whether the highest come first.
    pub sort: Vec<(String, bool)>,
    pub window: Window,
}

/// Which items of a list are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// `None` where the query has none.
    limit: Option<Limit>,
    pub skip: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    All,
    Of(u32),
}

impl Window {
    /// Of the items that there are when a subscription begins.
    pub(super) fn of_init(self) -> Option<u32> {
        match self.limit {
            None => Some(DEFAULT_LIMIT),
            Some(Limit::All) => None,
            Some(Limit::Of(limit)) => Some(limit),
        }
    }

    /// Of a message; the default does not count there.
    pub(super) fn of_message(self) -> Option<usize> {
        match self.limit {
            None | Some(Limit::All) => None,
            Some(Limit::Of(limit)) => Some(limit as usize),
        }
    }

    /// Whether it leaves every message as it is.
    pub(super) fn is_open(self) -> bool {
        self.skip == 0 && self.of_message().is_none()
    }
}

/// # Errors
/// Something is not served, or not what it must be.
pub(super) fn read(mut query: Map<String, Value>, names: &mut Names) -> Result<Query, Problem> {
    for (name, why) in NOT_SERVED {
        if query.get(name).is_some_and(|value| !is_empty(value)) {
            return Err(Problem::query(format_args!("{why}.")));
        }
    }
    let filter = match query.remove("filter") {
        Some(given) => filter::read(given, names)?,
        None => None,
    };
    Ok(Query {
        fields: fields(query.remove("fields"))?,
        filter,
        sort: sort(query.remove("sort"))?,
        window: window(&query)?,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => matches!(text.trim(), "" | "{}" | "[]"),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn fields(value: Option<Value>) -> Result<Option<Vec<String>>, Problem> {
    let mut fields = list("fields", value)?;
    if fields.is_empty() || fields.iter().any(|field| field == "*") {
        return Ok(None);
    }
    if let Some(dotted) = fields.iter().find(|field| field.contains('.')) {
        return Err(related(dotted));
    }
    let mut seen = std::collections::HashSet::new();
    fields.retain(|field| seen.insert(field.clone()));
    Ok(Some(fields))
}

fn sort(value: Option<Value>) -> Result<Vec<(String, bool)>, Problem> {
    let sort = list("sort", value)?.into_iter().map(|text| match text.strip_prefix('-') {
        _ if text.contains('.') => Err(related(&text)),
        Some(field) => Ok((field.to_owned(), true)),
        None => Ok((text, false)),
    });
    sort.collect()
}

/// What SDK 26 joins by commas.
fn list(name: &str, value: Option<Value>) -> Result<Vec<String>, Problem> {
    let items: Vec<String> = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
        Some(Value::Array(items)) => {
            let item = |item| match item {
                Value::String(text) => Ok(text),
                Value::Object(_) => Err(Problem::query(format_args!(
                    "\"{name}\" of related collections are not supported."
                ))),
                _ => Err(Problem::query(format_args!("\"{name}\" has to be a list of strings."))),
            };
            items.into_iter().map(item).collect::<Result<_, _>>()?
        }
        Some(_) => {
            return Err(Problem::query(format_args!("\"{name}\" has to be a list of strings.")));
        }
    };
    if items.len() > MOST_NAMES {
        return Err(Problem::query(format_args!("\"{name}\" has more than {MOST_NAMES} names.")));
    }
    let trimmed = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty());
    Ok(trimmed.map(str::to_owned).collect())
}

fn related(path: &str) -> Problem {
    Problem::query(format_args!("\"{path}\": fields of related collections are not supported."))
}

fn window(query: &Map<String, Value>) -> Result<Window, Problem> {
    let limit = number(query.get("limit"))
        .map(|limit| match limit {
            -1 => Ok(Limit::All),
            limit => u32::try_from(limit).map(Limit::Of).map_err(|_| negative("limit", -1)),
        })
        .transpose()?;
    let at_least = |name: &'static str, least: i64| match number(query.get(name)) {
        Some(n) if n < least => Err(negative(name, least)),
        other => Ok(other.and_then(|n| u64::try_from(n).ok())),
    };
    let (offset, page) = (at_least("offset", 0)?, at_least("page", 1)?);
    let window = Window { limit, skip: 0 };
    let skip = match (page, window.of_init()) {
        (Some(page), Some(limit)) => (page - 1).saturating_mul(u64::from(limit)),
        _ => offset.unwrap_or(0),
    };
    // What PostgreSQL takes as an OFFSET.
    Ok(Window { skip: skip.min(i64::MAX as u64), ..window })
}

/// A number or its digits; whatever else is as good as nothing.
fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn negative(name: &str, least: i64) -> Problem {
    Problem::query(format_args!("\"{name}\" must be greater than or equal to {least}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(query: Value) -> Result<Query, Problem> {
        let Value::Object(query) = query else { panic!("a query is an object") };
        read(query, &mut Names::default())
    }

    #[test]
    fn lists_and_texts_with_commas_are_the_same() {
        for query in [
            json!({ "fields": ["id", "text", "id"], "sort": ["-id", "text"], "limit": 5, "page": 3 }),
            json!({ "fields": "id,text", "sort": "-id, text", "limit": "5", "page": "3" }),
        ] {
            let query = of(query).unwrap();
            assert_eq!(query.fields.unwrap(), ["id", "text"]);
            assert_eq!(query.sort, [("id".to_owned(), true), ("text".to_owned(), false)]);
            assert_eq!((query.window.of_init(), query.window.skip), (Some(5), 10));
        }
    }

    #[test]
    fn a_star_or_nothing_is_every_field() {
        for fields in [json!("*"), json!(["*", "id"]), json!([]), json!(null)] {
            assert_eq!(of(json!({ "fields": fields })).unwrap().fields, None);
        }
    }

    #[test]
    fn the_default_limit_is_of_the_first_items_only() {
        let window = |query| of(query).unwrap().window;
        assert_eq!(window(json!({})).of_init(), Some(100));
        assert!(window(json!({})).is_open() && window(json!({ "limit": "-1" })).is_open());
        assert_eq!(window(json!({ "limit": -1 })).of_init(), None);
        assert_eq!(window(json!({ "limit": 0 })).of_message(), Some(0));
        assert_eq!(window(json!({ "limit": "many" })).of_init(), Some(100));
        assert!(!window(json!({ "offset": 1 })).is_open());
        assert!(of(json!({ "limit": -2 })).is_err() && of(json!({ "page": 0 })).is_err());
    }

    #[test]
    fn what_is_not_served_is_refused_by_its_name() {
        for (query, named) in [
            (json!({ "search": "q" }), "search"),
            (json!({ "deep": { "a": { "_limit": 1 } } }), "deep"),
            (json!({ "deep": "{\"a\":{}}" }), "deep"),
            (json!({ "meta": "*" }), "meta"),
            (json!({ "aggregate": { "count": "*" } }), "aggregate"),
            (json!({ "groupBy": ["a"] }), "groupBy"),
            (json!({ "alias": { "a": "b" } }), "alias"),
            (json!({ "fields": ["id", { "author": ["name"] }] }), "fields"),
            (json!({ "fields": "author.name" }), "author.name"),
            (json!({ "sort": "-author.name" }), "author.name"),
        ] {
            let problem = of(query).unwrap_err();
            assert_eq!(problem.code, "INVALID_QUERY");
            assert!(problem.message.contains(named), "{}", problem.message);
        }
        assert!(of(json!({ "search": "", "deep": {}, "alias": "{}" })).is_ok());
    }
}
