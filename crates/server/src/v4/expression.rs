//! The expressions of FQL that name a document or a set of documents.
//!
//! A request's body is an expression as JSON: functions are objects with the names of their arguments.
//! It is read here, in the process that strangers can reach, and to no greater depth than the reader of
//! JSON allows; the worker gets names and constants.

use event_source_model::query::{Constant, Name, Of as Rows, Span};
use event_source_wire::v4::error::Wrong;
use serde_json::{Map, Value};

use super::term::{Term, terms};

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Document {
        collection: String,
        id: String,
    },
    Documents {
        collection: String,
    },
    Match {
        index: String,
        terms: Vec<Term>,
    },
    /// The document that a ref means, or the first of a set.
    Get(Box<Expression>),
    Collection(String),
    Index(String),
    /// Something that names nothing here, called as Fauna calls it.
    Other(&'static str),
}

impl Expression {
    /// What Fauna calls it in its errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Document { .. } => "Document Ref",
            Self::Documents { .. } | Self::Match { .. } => "Set",
            Self::Get(_) => "Document",
            Self::Collection(_) => "Collection Ref",
            Self::Index(_) => "Index Ref",
            Self::Other(kind) => kind,
        }
    }

    /// The collection and which of its rows; `None` of what has none.
    pub(super) fn rows(&self) -> Option<(Name, Rows)> {
        // No place in a text: what is wrong is the only thing that it names.
        let span = Span::default();
        let name = |text: &str| Name { text: text.to_owned(), span };
        Some(match self {
            Self::Document { collection, id } => {
                let key = Constant::Text(id.clone());
                (name(collection), Rows::Key { key, span })
            }
            Self::Documents { collection } => (name(collection), Rows::All),
            Self::Match { index, terms } => {
                let index = name(index);
                let terms = terms.iter().map(|term| term.constant.clone()).collect();
                (index.clone(), Rows::Named { index, terms })
            }
            Self::Get(of) => match of.rows()? {
                document @ (_, Rows::Key { .. }) => document,
                (collection, of) => {
                    (collection, Rows::First { of: Box::new(of), filter: None, span })
                }
            },
            Self::Collection(_) | Self::Index(_) | Self::Other(_) => return None,
        })
    }

    /// The only thing that it names: `collection 'x'`.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Document { collection, .. }
            | Self::Documents { collection }
            | Self::Collection(collection) => format!("collection '{collection}'"),
            Self::Match { index, .. } | Self::Index(index) => format!("index '{index}'"),
            Self::Get(of) => of.subject(),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }
}

/// Reads a request's body.
pub(super) fn parse(body: &[u8]) -> Result<Expression, Wrong> {
    if body.is_empty() {
        return Err(Wrong::expression("No query provided."));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|_| Wrong::expression("Request body is not valid JSON."))?;
    read(&value)
}

pub(super) fn read(value: &Value) -> Result<Expression, Wrong> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => return Ok(Expression::Other("Null")),
        Value::Bool(_) => return Ok(Expression::Other("Boolean")),
        Value::Number(n) if n.is_f64() => return Ok(Expression::Other("Double")),
        Value::Number(_) => return Ok(Expression::Other("Integer")),
        Value::String(_) => return Ok(Expression::Other("String")),
        Value::Array(_) => return Ok(Expression::Other("Array")),
    };
    let has = |names: &[&str]| {
        fields.len() == names.len() && names.iter().all(|name| fields.contains_key(*name))
    };
    let field = |name: &str| &fields[name];
    if has(&["@ref"]) {
        return reference(field("@ref"));
    }
    if has(&["@set"]) {
        return read(field("@set"));
    }
    if has(&["ref", "id"]) {
        return match read(field("ref"))? {
            Expression::Collection(collection) => {
                Ok(Expression::Document { collection, id: id(field("id"))? })
            }
            other => Err(expected("Collection Ref", &other)),
        };
    }
    if has(&["documents"]) {
        return match read(field("documents"))? {
            Expression::Collection(collection) => Ok(Expression::Documents { collection }),
            other => Err(expected("Collection Ref", &other)),
        };
    }
    // The index was once called so, and the terms were what is matched.
    if has(&["match", "index"]) {
        return matched(field("index"), Some(field("match")));
    }
    if has(&["match", "terms"]) {
        return matched(field("match"), Some(field("terms")));
    }
    if has(&["match"]) {
        return matched(field("match"), None);
    }
    if has(&["get"]) {
        let of = read(field("get"))?;
        return match of {
            Expression::Document { .. }
            | Expression::Documents { .. }
            | Expression::Match { .. } => Ok(Expression::Get(Box::new(of))),
            other => Err(expected("Ref or Set", &other)),
        };
    }
    named(fields)
}

/// A name alone, and what is known of the rest.
fn named(fields: &Map<String, Value>) -> Result<Expression, Wrong> {
    const OBJECTS: [&str; 2] = ["object", "@obj"];
    const SETS: [&str; 8] = [
        "singleton",
        "union",
        "intersection",
        "difference",
        "distinct",
        "join",
        "range",
        "reverse",
    ];
    const WRITES: [&str; 16] = [
        "create",
        "update",
        "replace",
        "delete",
        "insert",
        "remove",
        "create_class",
        "create_collection",
        "create_database",
        "create_index",
        "create_key",
        "create_function",
        "create_role",
        "create_access_provider",
        "move_database",
        "login",
    ];
    let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
    let kinds = [("collection", true), ("class", true), ("index", false)];
    for (kind, is_collection) in kinds {
        let Some(Value::String(name)) = fields.get(kind) else { continue };
        match fields.get("scope") {
            Some(scope) if fields.len() == 2 && !scope.is_null() => {
                return Err(Wrong::undefined(format_args!("database {scope}")));
            }
            _ if fields.len() == 1 + usize::from(fields.contains_key("scope")) => {}
            _ => continue,
        }
        let name = name.clone();
        let found = if is_collection { Expression::Collection } else { Expression::Index };
        return Ok(found(name));
    }
    if has(&OBJECTS) && fields.len() == 1 {
        return Ok(Expression::Other("Object"));
    }
    if has(&SETS) {
        return Ok(Expression::Other("Set"));
    }
    if has(&WRITES) {
        return Err(Wrong::expression(
            "Call performs a write, which is not allowed in stream requests.",
        ));
    }
    let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
    let keys = keys.join(", ");
    Err(Wrong::expression(format!(
        "No form/function found, or invalid argument keys: {{ {keys} }}."
    )))
}

/// A ref as answers have it, or as their oldest ones had.
fn reference(of: &Value) -> Result<Expression, Wrong> {
    match of {
        Value::String(path) => {
            let mut parts = path.splitn(3, '/');
            match (parts.next(), parts.next(), parts.next()) {
                (Some("classes" | "collections"), Some(name), None) => {
                    Ok(Expression::Collection(name.to_owned()))
                }
                (Some("classes" | "collections"), Some(name), Some(id)) if !id.is_empty() => {
                    Ok(Expression::Document { collection: name.to_owned(), id: id.to_owned() })
                }
                (Some("indexes"), Some(name), None) => Ok(Expression::Index(name.to_owned())),
                _ => Err(Wrong::undefined(format_args!("document '{path}'"))),
            }
        }
        Value::Object(fields) => {
            let missing = || Wrong::expression("a ref has an id");
            let id = id(fields.get("id").ok_or_else(missing)?)?;
            if fields.get("database").is_some_and(|database| !database.is_null()) {
                return Err(Wrong::undefined(format_args!("document '{id}' of another database")));
            }
            let Some(collection) = fields.get("collection").filter(|of| !of.is_null()) else {
                return Ok(Expression::Other(match id.as_str() {
                    "collections" | "classes" => COLLECTIONS,
                    "indexes" => INDEXES,
                    _ => "Ref",
                }));
            };
            match read(collection)? {
                Expression::Other(COLLECTIONS) => Ok(Expression::Collection(id)),
                Expression::Other(INDEXES) => Ok(Expression::Index(id)),
                Expression::Collection(collection) => Ok(Expression::Document { collection, id }),
                _ => Ok(Expression::Other("Ref")),
            }
        }
        _ => Err(Wrong::expression("a ref is an object")),
    }
}

/// What the refs of collections and of indexes belong to.
const COLLECTIONS: &str = "Collections Ref";
const INDEXES: &str = "Indexes Ref";

fn matched(index: &Value, of: Option<&Value>) -> Result<Expression, Wrong> {
    let index = match index {
        Value::String(name) => name.clone(),
        other => match read(other)? {
            Expression::Index(name) => name,
            other => return Err(expected("Index Ref", &other)),
        },
    };
    let terms = of.map_or_else(|| Ok(Vec::new()), terms)?;
    Ok(Expression::Match { index, terms })
}

fn id(value: &Value) -> Result<String, Wrong> {
    match value {
        Value::String(id) if !id.is_empty() => Ok(id.clone()),
        Value::Number(id) => Ok(id.to_string()),
        _ => Err(Wrong::argument("Expected a String or Integer as the id of a ref.")),
    }
}

fn expected(what: &str, got: &Expression) -> Wrong {
    Wrong::argument(format!("{what} expected, {} provided.", got.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(body: &Value) -> Result<Expression, Wrong> {
        parse(body.to_string().as_bytes())
    }

    fn document(id: &str) -> Expression {
        Expression::Document { collection: "Scores".to_owned(), id: id.to_owned() }
    }

    #[test]
    fn a_document_is_named_in_every_way_that_drivers_know() {
        let collection = json!({ "@ref": { "id": "Scores", "collection":
            { "@ref": { "id": "collections" } } } });
        for body in [
            json!({ "ref": { "collection": "Scores" }, "id": "1" }),
            json!({ "ref": { "collection": "Scores" }, "id": 1 }),
            json!({ "ref": { "collection": "Scores", "scope": null }, "id": "1" }),
            json!({ "ref": { "class": "Scores" }, "id": "1" }),
            json!({ "ref": collection, "id": "1" }),
            json!({ "@ref": { "id": "1", "collection": collection } }),
            json!({ "@ref": "classes/Scores/1" }),
        ] {
            assert_eq!(of(&body), Ok(document("1")), "{body}");
        }
        let got = of(&json!({ "get": { "@ref": "classes/Scores/1" } }));
        assert_eq!(got, Ok(Expression::Get(Box::new(document("1")))));
    }

    #[test]
    fn a_set_is_named_in_every_way_that_drivers_know() {
        let index = json!({ "@ref": { "id": "i", "collection": { "@ref": { "id": "indexes" } } } });
        for (body, shown) in [
            (json!({ "match": { "index": "i" }, "terms": "fire" }), vec!["\"fire\""]),
            (json!({ "match": "i", "terms": "fire" }), vec!["\"fire\""]),
            (json!({ "match": { "index": "i" }, "terms": ["fire", 3] }), vec!["\"fire\"", "3"]),
            (json!({ "match": { "index": "i" }, "terms": [] }), vec![]),
            (json!({ "match": { "index": "i" } }), vec![]),
            (json!({ "match": "fire", "index": { "index": "i" } }), vec!["\"fire\""]),
            (json!({ "@set": { "match": index, "terms": "fire" } }), vec!["\"fire\""]),
            (
                json!({ "match": "i", "terms": [
                    { "time": "2022-01-01T00:00:00Z" }, { "@date": "2020-01-01" },
                    { "@bytes": "_-8=" }, { "@bytes": "/+8" }, null, true,
                    { "ref": { "collection": "Scores" }, "id": "7" },
                ] }),
                vec![
                    r#"{"@ts":"2022-01-01T00:00:00Z"}"#,
                    r#"{"@date":"2020-01-01"}"#,
                    r#"{"@bytes":"/+8="}"#,
                    r#"{"@bytes":"/+8="}"#,
                    "null",
                    "true",
                    concat!(
                        r#"{"@ref":{"id":"7","collection":{"@ref":{"id":"Scores","#,
                        r#""collection":{"@ref":{"id":"collections"}}}}}}"#
                    ),
                ],
            ),
        ] {
            let Ok(Expression::Match { index, terms }) = of(&body) else { panic!("{body}") };
            let found: Vec<&str> = terms.iter().map(|term| term.shown.as_str()).collect();
            assert_eq!((index.as_str(), found), ("i", shown), "{body}");
        }
        let documents = Expression::Documents { collection: "Scores".to_owned() };
        let body = json!({ "documents": { "collection": "Scores" } });
        assert_eq!(of(&body), Ok(documents.clone()));
        assert_eq!(of(&json!({ "@set": body })), Ok(documents));
    }

    #[test]
    fn what_names_no_rows_says_what_it_is() {
        for (body, kind) in [
            (json!({ "object": { "a": 1 } }), "Object"),
            (json!("x"), "String"),
            (json!(1), "Integer"),
            (json!(1.5), "Double"),
            (json!([]), "Array"),
            (json!(null), "Null"),
            (json!({ "collection": "Scores" }), "Collection Ref"),
            (json!({ "union": [] }), "Set"),
            (json!({ "index": "i" }), "Index Ref"),
        ] {
            let found = of(&body).unwrap_or_else(|wrong| panic!("{body}: {wrong:?}"));
            assert_eq!((found.kind(), found.rows()), (kind, None), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let why = |body: &str| {
            let wrong = parse(body.as_bytes()).expect_err(body);
            assert_eq!(wrong.status, 400, "{body}");
            (wrong.code, wrong.description)
        };
        let expression = |text: &str| ("invalid expression", text.to_owned());
        assert_eq!(why(""), expression("No query provided."));
        assert_eq!(why("{"), expression("Request body is not valid JSON."));
        assert_eq!(why(&"[".repeat(100_000)), expression("Request body is not valid JSON."));
        assert_eq!(
            why(r#"{"a":1,"b":2}"#),
            expression("No form/function found, or invalid argument keys: { a, b }.")
        );
        assert_eq!(
            why(r#"{"create":{"collection":"x"},"params":{}}"#),
            expression("Call performs a write, which is not allowed in stream requests.")
        );
        assert_eq!(why(r#"{"ref":{"index":"i"},"id":"1"}"#).0, "invalid argument");
        assert_eq!(why(r#"{"ref":{"collection":"x"},"id":""}"#).0, "invalid argument");
        assert_eq!(why(r#"{"match":"i","terms":[["a"]]}"#).0, "invalid argument");
        assert_eq!(why(r#"{"match":"i","terms":{"object":{}}}"#).0, "invalid argument");
        let scoped = r#"{"collection":"x","scope":{"database":"d"}}"#;
        assert_eq!(why(scoped).0, "invalid ref");
    }

    #[test]
    fn nesting_ends_where_the_reader_of_json_ends() {
        let mut body = r#"{"collection":"x"}"#.to_owned();
        for _ in 0..10_000 {
            body = format!("{{\"get\":{body}}}");
        }
        let wrong = parse(body.as_bytes()).expect_err("too deep");
        assert_eq!(wrong.description, "Request body is not valid JSON.");
    }
}
