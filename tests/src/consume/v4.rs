//! Fauna's v4 wire without its drivers: what the frames on the wire are, byte for byte.
//!
//! The drivers (`tests/clients`) show that they are content; this client shows that the rules hold on which
//! they depend, and turns each event into the same [`Event`] as the other clients.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};

use super::event::{Event, Kind, WireError};
use super::http::{Connection, Failed, Version, accepted, runtime};

/// An open `/stream`. Dropping it breaks the connection.
#[derive(Debug)]
pub struct V4Stream {
    body: Incoming,
    /// The beginning of an event whose rest is in the frames to come.
    read: BytesMut,
    _connection: Connection,
    runtime: Runtime,
}

impl V4Stream {
    /// Opens a stream of an expression of FQL's JSON. Without `fields` the server chooses.
    pub fn open(
        address: SocketAddr,
        secret: &str,
        expression: &Value,
        fields: &[&str],
    ) -> Result<Self, Failed> {
        let runtime = runtime()?;
        let path = match fields {
            [] => "/stream".to_owned(),
            fields => format!("/stream?fields={}", fields.join("%2C")),
        };
        let (connection, answer) = runtime.block_on(async {
            let mut connection = Connection::open(address, Version::Http2).await?;
            let bearer = format!("Bearer {secret}");
            let headers = [("authorization", bearer.as_str())];
            let answer = connection.post(address, &path, &headers, expression).await?;
            Ok::<_, Failed>((connection, accepted(answer).await?))
        })?;
        let body = answer.into_body();
        Ok(Self { body, read: BytesMut::new(), _connection: connection, runtime })
    }

    /// The next event, the start as a status; `None` when the body ended cleanly.
    pub fn next(&mut self, within: Duration) -> Result<Option<Event>, Failed> {
        Ok(self.next_raw(within)?.map(event))
    }

    /// The next event as it is on the wire.
    pub fn next_raw(&mut self, within: Duration) -> Result<Option<Value>, Failed> {
        // Heartbeats do not count.
        let until = Instant::now() + within;
        loop {
            let frame = self.runtime.block_on(async { timeout_at(until, self.body.frame()).await });
            match frame {
                Err(_) => return Err(Failed::TimedOut(within)),
                Ok(None) if self.read.is_empty() => return Ok(None),
                Ok(None) => return Err(Failed::Malformed("the body ends within an event".into())),
                Ok(Some(frame)) => {
                    let Ok(data) = frame?.into_data() else { continue };
                    if let Some(event) = take(&mut self.read, &data)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }
}

/// Adds a frame to what was read, and takes the event that it completes. The driver for Python dies of
/// whatever is refused here.
fn take(read: &mut BytesMut, frame: &[u8]) -> Result<Option<Value>, Failed> {
    let malformed = |why: &str| {
        let shown = &frame[..frame.len().min(200)];
        Err(Failed::Malformed(format!("{why}: {:?}", String::from_utf8_lossy(shown))))
    };
    if !frame.is_ascii() {
        return malformed("not ASCII");
    }
    if frame == b" " && read.is_empty() {
        return Ok(None);
    }
    let Some(end) = frame.iter().position(|byte| *byte == b'\n') else {
        read.extend_from_slice(frame);
        return match serde_json::from_slice::<Value>(read) {
            Ok(_) => malformed("an event whose line end comes in another frame"),
            Err(_) => Ok(None),
        };
    };
    if end + 1 != frame.len() || !frame.ends_with(b"}\r\n") {
        return malformed("a frame that holds more or less than the end of one event");
    }
    read.extend_from_slice(frame);
    match serde_json::from_slice(&read.split()) {
        Ok(event) => Ok(Some(event)),
        Err(error) => malformed(&error.to_string()),
    }
}

/// An event as the other wires have it. `data` is what `document` says of the row; of a set only the key is
/// known.
fn event(mut raw: Value) -> Event {
    let txn_ts = raw["txn"].as_i64();
    let told = raw["event"].take();
    let action = told["action"].as_str().unwrap_or_default();
    let kind = match (raw["type"].as_str().unwrap_or_default(), action) {
        ("start", _) => Kind::Status,
        ("history_rewrite", _) => Kind::HistoryRewrite,
        ("version", "create") | ("set", "add") => Kind::Add,
        ("version", "update") => Kind::Update,
        ("version", "delete") | ("set", "remove") => Kind::Remove,
        _ => Kind::Error,
    };
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    let error = (kind == Kind::Error).then(|| WireError {
        code: text("code"),
        message: text("description"),
        hint: None,
        cursor: None,
    });
    let key = told.pointer("/document/ref/@ref/id").cloned();
    let data = |name: &str| told.get(name)?.get("data").cloned().map(untyped);
    Event {
        kind,
        txn_ts,
        cursor: None,
        data: data("document"),
        prev: data("prev"),
        diff: data("diff"),
        key,
        snapshot: None,
        error,
    }
}

/// A value without its type: what JSON does not have is text.
fn untyped(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(untyped).collect()),
        Value::Object(mut fields) => {
            let tag = fields.keys().next().filter(|tag| tag.starts_with('@') && fields.len() == 1);
            match tag.cloned().and_then(|tag| Some((fields.remove(&tag)?, tag))) {
                // Inside, what looks like a type is the user's.
                Some((Value::Object(inner), tag)) if tag == "@obj" => each(inner),
                Some((inner, _)) => inner,
                None => each(fields),
            }
        }
        other => other,
    }
}

fn each(fields: Map<String, Value>) -> Value {
    fields.into_iter().map(|(name, value)| (name, untyped(value))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frames(frames: &[&str]) -> Result<Vec<Value>, Failed> {
        let mut read = BytesMut::new();
        let mut events = Vec::new();
        for frame in frames {
            events.extend(take(&mut read, frame.as_bytes())?);
        }
        Ok(events)
    }

    #[test]
    fn an_event_may_come_in_pieces_and_a_heartbeat_between_two() {
        let events =
            frames(&["{\"a\":1}\r\n", " ", "  {\"a\"", ":2", "}\r\n"]).expect("well formed");
        assert_eq!(events, [json!({ "a": 1 }), json!({ "a": 2 })]);
    }

    #[test]
    fn what_kills_the_driver_for_python_is_malformed() {
        for bad in [
            &["{\"a\":1}\r\n{\"a\":2}\r\n"][..],
            &["{\"a\":1}", "\r\n"],
            &["{\"a\":1}\r", "\n"],
            &["\r\n"],
            &["{\"a\":1}\n"],
            &["{\"a\":\"ü\"}\r\n"],
        ] {
            assert!(frames(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn types_come_off() {
        let typed = json!({ "a": { "@ts": "2024Z" }, "b": { "@obj": { "@odd": 1 } }, "c": [1.5] });
        assert_eq!(untyped(typed), json!({ "a": "2024Z", "b": { "@odd": 1 }, "c": [1.5] }));
    }
}
