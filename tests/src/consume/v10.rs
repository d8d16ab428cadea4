//! Fauna's v10 wire without its drivers: what the lines on the wire are, byte for byte.
//!
//! The drivers (`tests/clients`) show that they are content; this client shows what they were
//! given, and turns it into the same [`Event`] as the other clients.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::event::{Event, Kind, WireError};
use super::http::{self, Failed, Version};
use super::lines::Lines;

/// An event on the v10 wire: exactly these fields, since some drivers refuse others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tagged {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub txn_ts: Option<i64>,
    pub cursor: Option<String>,
    pub data: Option<Value>,
    pub error: Option<WireError>,
    pub stats: Stats,
}

/// The `stats` of an event or a page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stats {
    pub read_ops: u64,
    pub storage_bytes_read: u64,
    pub compute_ops: u64,
    pub processing_time_ms: u64,
    pub rate_limits_hit: Vec<String>,
}

/// A page of `/feed/1`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaggedPage {
    pub events: Vec<Tagged>,
    pub cursor: String,
    pub has_next: bool,
    pub stats: Stats,
}

impl Tagged {
    /// The event without tags; `data` is the document's columns without `id`, `coll` and `ts`.
    pub fn untagged(self) -> Event {
        let (key, data) = match self.data {
            Some(Value::Object(mut tagged)) => match tagged.remove("@doc") {
                Some(Value::Object(mut document)) => {
                    let key = document.remove("id");
                    document.remove("coll");
                    document.remove("ts");
                    (key, Some(untag(Value::Object(document))))
                }
                _ => (None, Some(untag(Value::Object(tagged)))),
            },
            other => (None, other),
        };
        Event {
            kind: self.kind,
            txn_ts: self.txn_ts,
            cursor: self.cursor,
            key,
            data,
            prev: None,
            diff: None,
            snapshot: None,
            error: self.error,
        }
    }
}

/// A value without its tags: numbers as numbers, what JSON does not have as text.
fn untag(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(untag).collect()),
        Value::Object(fields) => {
            let mut only = fields.iter();
            match (only.next(), only.next()) {
                (Some((tag, Value::String(text))), None) if tag.starts_with('@') => {
                    match tag.as_str() {
                        "@int" | "@long" | "@double" => {
                            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
                        }
                        _ => json!(text),
                    }
                }
                // Inside, what looks like a tag is the user's.
                (Some((tag, Value::Object(inner))), None) if tag == "@object" => {
                    each(inner.clone())
                }
                _ => each(fields),
            }
        }
        other => other,
    }
}

fn each(fields: Map<String, Value>) -> Value {
    fields.into_iter().map(|(name, value)| (name, untag(value))).collect::<Map<_, _>>().into()
}

/// An open `/stream/1`. Dropping it breaks the connection.
#[derive(Debug)]
pub struct V10Stream(Lines);

impl V10Stream {
    /// Opens a stream as the drivers do. `secret` is the Bearer, a token or a secret.
    pub fn open(
        address: SocketAddr,
        version: Version,
        secret: &str,
        token: &str,
        cursor: Option<&str>,
    ) -> Result<Self, Failed> {
        let mut body = json!({ "token": token });
        if let Some(cursor) = cursor {
            body["cursor"] = json!(cursor);
        }
        let bearer = format!("Bearer {secret}");
        let headers = [("authorization", bearer.as_str())];
        Lines::open(address, version, "/stream/1", &headers, &body).map(Self)
    }

    /// The next event as it is on the wire; `None` when the body ended cleanly.
    pub fn next(&mut self, within: Duration) -> Result<Option<Tagged>, Failed> {
        self.0.next(within)?.map(|line| tagged_line(line.as_bytes())).transpose()
    }

    /// The next event's line with its end, looked at as [`V10Stream::next`] does.
    pub fn next_line(&mut self, within: Duration) -> Result<Option<String>, Failed> {
        let line = self.0.next(within)?;
        if let Some(line) = &line {
            tagged_line(line.as_bytes())?;
        }
        Ok(line)
    }
}

/// Reads a line; it has to end in CRLF and to hold nothing that a driver takes for a line end.
fn tagged_line(line: &[u8]) -> Result<Tagged, Failed> {
    let malformed =
        |why: &str| Failed::Malformed(format!("{why}: {}", String::from_utf8_lossy(line)));
    let text = line.strip_suffix(b"\r\n").ok_or_else(|| malformed("no CRLF"))?;
    let text = std::str::from_utf8(text).map_err(|_| malformed("not UTF-8"))?;
    if text.contains(|c: char| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')) {
        return Err(malformed("an unescaped line end"));
    }
    serde_json::from_str(text).map_err(|e| malformed(&e.to_string()))
}

/// One page of `/feed/1`; `more` are further parameters, such as `{"page_size": 2}`.
pub fn page(
    address: SocketAddr,
    version: Version,
    secret: &str,
    token: &str,
    cursor: Option<&str>,
    more: &Value,
) -> Result<TaggedPage, Failed> {
    let mut body = more.clone();
    body["token"] = json!(token);
    if let Some(cursor) = cursor {
        body["cursor"] = json!(cursor);
    }
    asked(address, version, secret, "/feed/1", &body)
}

/// The `data` of the answer to a query, its tags still on.
pub fn query(
    address: SocketAddr,
    version: Version,
    secret: &str,
    query: &str,
) -> Result<Value, Failed> {
    let bearer = format!("Bearer {secret}");
    query_with(address, version, &[("authorization", &bearer)], query)
}

/// As [`query`], with the credential wherever these headers have it.
pub fn query_with(
    address: SocketAddr,
    version: Version,
    headers: &[(&str, &str)],
    query: &str,
) -> Result<Value, Failed> {
    let body = json!({ "query": query });
    let mut answer: Value = asked_with(address, version, headers, "/query/1", &body)?;
    Ok(answer["data"].take())
}

fn asked<T: DeserializeOwned>(
    address: SocketAddr,
    version: Version,
    secret: &str,
    path: &str,
    body: &Value,
) -> Result<T, Failed> {
    let bearer = format!("Bearer {secret}");
    asked_with(address, version, &[("authorization", &bearer)], path, body)
}

fn asked_with<T: DeserializeOwned>(
    address: SocketAddr,
    version: Version,
    headers: &[(&str, &str)],
    path: &str,
    body: &Value,
) -> Result<T, Failed> {
    let text = http::text(address, version, path, headers, body)?;
    serde_json::from_str(&text).map_err(|e| Failed::Malformed(format!("{e}: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_off_and_their_numbers_stay_whole() {
        let tagged = json!({
            "a": { "@long": "9007199254740993" }, "b": { "@double": "NaN" }, "c": [{ "@int": "1" }],
            "d": { "@object": { "@odd": { "@int": "2" } } }, "e": { "@date": "2024-03-14" },
        });
        let expected =
            r#"{"a":9007199254740993,"b":"NaN","c":[1],"d":{"@odd":2},"e":"2024-03-14"}"#;
        assert_eq!(untag(tagged), serde_json::from_str::<Value>(expected).expect("JSON"));
    }

    #[test]
    fn what_ends_a_line_for_some_driver_is_malformed() {
        let stats = r#""stats":{"read_ops":0,"storage_bytes_read":0,"compute_ops":0,"processing_time_ms":0,"rate_limits_hit":[]}"#;
        let line =
            |cursor: &str| format!(r#"{{"type":"status","txn_ts":1,"cursor":"{cursor}",{stats}}}"#);
        assert!(tagged_line(format!("{}\r\n", line("c")).as_bytes()).is_ok());
        assert!(tagged_line(format!("{}\n", line("c")).as_bytes()).is_err());
        for bad in ["\u{85}", "\u{2028}", "\u{2029}"] {
            assert!(tagged_line(format!("{}\r\n", line(bad)).as_bytes()).is_err());
        }
        assert!(tagged_line(b"\r\n").is_err(), "a blank line");
    }
}
