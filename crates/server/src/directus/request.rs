//! What a client may say, read as Directus reads it: what is too much is ignored, what is wrong is told in
//! the words of its validation.

use event_source_wire::directus::error::Problem;
use event_source_wire::directus::message::{Kind, Uid};
use serde_json::{Map, Value};

/// A message of a client's.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Auth {
        uid: Option<Uid>,
        /// `None` for a user's password or a refresh token: there are no users here.
        access_token: Option<String>,
    },
    Subscribe(Subscribe),
    Unsubscribe(Option<Uid>),
    Ping(Option<Uid>),
    /// CRUD over the socket, which is not served.
    Items(Option<Uid>),
    /// Whatever else, which Directus does not answer either.
    Other,
}

#[derive(Debug, PartialEq)]
pub(super) struct Subscribe {
    pub uid: Option<Uid>,
    pub collection: String,
    pub event: Option<Kind>,
    /// The key of the only item.
    pub item: Option<String>,
    pub query: Map<String, Value>,
    /// Ours: deletes obey the filter, and what leaves it is deleted.
    pub exact: bool,
}

/// What is wrong with a message.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub is_subscribe: bool,
    pub problem: Problem,
}

/// # Errors
/// It is no message, or one without what its type needs.
pub(super) fn read(text: &str) -> Result<Request, Wrong> {
    let server = |problem| Wrong { is_subscribe: false, problem };
    let message = serde_json::from_str::<Value>(text).map_err(|_| server(Problem::unreadable()))?;
    let Value::Object(mut message) = message else {
        return Err(server(unexpected("object", Some(&message), None)));
    };
    let kind = match message.remove("type") {
        Some(Value::String(kind)) => kind,
        other => return Err(server(unexpected("string", other.as_ref(), Some("type")))),
    };
    let uid = match message.remove("uid") {
        None => None,
        Some(Value::String(text)) => Some(Uid::Text(text)),
        Some(Value::Number(number)) => Some(Uid::Number(number.to_string())),
        Some(_) => return Err(server(Problem::validation("Invalid input at \"uid\""))),
    };
    match kind.to_ascii_lowercase().as_str() {
        "auth" => {
            let access_token = match message.remove("access_token") {
                Some(Value::String(token)) => Some(token),
                _ => None,
            };
            Ok(Request::Auth { uid, access_token })
        }
        "subscribe" => {
            let subscribe = subscribe(uid, message);
            subscribe
                .map(Request::Subscribe)
                .map_err(|problem| Wrong { is_subscribe: true, problem })
        }
        "unsubscribe" => Ok(Request::Unsubscribe(uid)),
        "ping" => Ok(Request::Ping(uid)),
        "items" => Ok(Request::Items(uid)),
        _ => Ok(Request::Other),
    }
}

fn subscribe(uid: Option<Uid>, mut message: Map<String, Value>) -> Result<Subscribe, Problem> {
    let collection = match message.remove("collection") {
        Some(Value::String(name)) => name,
        other => return Err(unexpected("string", other.as_ref(), Some("collection"))),
    };
    let event = message.remove("event").map(event).transpose()?;
    let item = match message.remove("item") {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => return Err(Problem::validation("Invalid input at \"item\"")),
    };
    let query = match message.remove("query") {
        None => Map::new(),
        Some(Value::Object(query)) => query,
        Some(other) => return Err(unexpected("record", Some(&other), Some("query"))),
    };
    let exact = match message.remove("exact") {
        None => false,
        Some(Value::Bool(exact)) => exact,
        Some(other) => return Err(unexpected("boolean", Some(&other), Some("exact"))),
    };
    Ok(Subscribe { uid, collection, event, item, query, exact })
}

fn event(value: Value) -> Result<Kind, Problem> {
    let named = Kind::ALL.into_iter().find(|kind| value.as_str() == Some(kind.name()));
    named.ok_or_else(|| {
        let options =
            "Invalid option: expected one of \"create\"|\"update\"|\"delete\" at \"event\"";
        Problem::validation(options)
    })
}

/// What zod calls it.
fn of(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

fn unexpected(expected: &str, found: Option<&Value>, at: Option<&str>) -> Problem {
    let found = of(found);
    let at = at.map_or(String::new(), |at| format!(" at \"{at}\""));
    Problem::validation(format_args!("Invalid input: expected {expected}, received {found}{at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (bool, String) {
        let Wrong { is_subscribe, problem } = read(text).unwrap_err();
        (is_subscribe, problem.message)
    }

    #[test]
    fn what_is_no_message_is_told_in_the_words_of_directus() {
        assert_eq!(wrong("{").1, "Unable to parse the incoming message.");
        let expected = "Validation error: Invalid input: expected object, received array";
        assert_eq!(wrong("[]"), (false, expected.to_owned()));
        let expected =
            "Validation error: Invalid input: expected string, received undefined at \"type\"";
        assert_eq!(wrong("{}"), (false, expected.to_owned()));
        assert_eq!(
            wrong(r#"{"type":"ping","uid":[]}"#).1,
            "Validation error: Invalid input at \"uid\""
        );
    }

    #[test]
    fn a_subscription_needs_a_collection_and_knows_three_events() {
        let (is_subscribe, message) = wrong(r#"{"type":"subscribe"}"#);
        assert!(is_subscribe && message.ends_with("received undefined at \"collection\""));
        let (_, message) = wrong(r#"{"type":"subscribe","collection":"a","event":"drop"}"#);
        assert!(message.ends_with("at \"event\""), "{message}");
        let (_, message) = wrong(r#"{"type":"subscribe","collection":"a","query":"x"}"#);
        assert!(message.ends_with("expected record, received string at \"query\""), "{message}");
    }

    #[test]
    fn a_uid_is_a_string_or_a_number_and_an_item_too() {
        let text = r#"{"type":"subscribe","collection":"a","uid":5,"item":7,"more":1}"#;
        let Ok(Request::Subscribe(subscribe)) = read(text) else { panic!("it is a subscription") };
        assert_eq!(subscribe.uid, Some(Uid::Number("5".to_owned())));
        assert_eq!(subscribe.item.as_deref(), Some("7"));
        assert!(!subscribe.exact && subscribe.query.is_empty());
    }

    #[test]
    fn what_directus_does_not_know_is_not_answered() {
        assert_eq!(read(r#"{"type":"hello"}"#), Ok(Request::Other));
        assert_eq!(read(r#"{"type":"pong"}"#), Ok(Request::Other));
    }
}
