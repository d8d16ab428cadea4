//! A change stream as server-sent events, each of whose lines is looked at.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use event_source_tests::consume::lines::Lines;
use event_source_tests::consume::{Failed, Kind, Version};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is asked of `/api/{plural}/change-stream`.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    plural: String,
    options: Value,
    secret: Option<String>,
    /// The id of the last event, of a reader that comes back.
    last: Option<String>,
}

impl Changes {
    /// All changes.
    pub(crate) fn of(plural: &str) -> Self {
        Self { plural: plural.to_owned(), options: json!({}), secret: None, last: None }
    }

    pub(crate) fn with(self, options: Value) -> Self {
        Self { options, ..self }
    }

    pub(crate) fn by(self, secret: &str) -> Self {
        Self { secret: Some(secret.to_owned()), ..self }
    }

    pub(crate) fn after(self, last: Option<String>) -> Self {
        Self { last, ..self }
    }
}

/// What stands behind `data:`; nothing else may stand there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) target: Value,
    #[serde(rename = "where")]
    pub(crate) condition: Option<Value>,
    pub(crate) data: Option<Value>,
    #[serde(rename = "type", deserialize_with = "kind")]
    pub(crate) kind: Kind,
}

/// One thing that is said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Change(Change),
    /// The last one.
    Error(Value),
}

/// An open stream. Dropping it breaks the connection.
#[derive(Debug)]
pub(crate) struct ChangeStream {
    lines: Lines,
    /// The id of everything that was read, as an `EventSource` keeps it.
    id: Option<String>,
}

impl ChangeStream {
    /// Opens a stream, and reads what it begins with.
    pub(crate) fn open(address: SocketAddr, asked: &Changes) -> Result<Self, Failed> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(asked.secret.iter().map(|secret| ("x-access-token", secret.as_str())));
        headers.extend(asked.last.iter().map(|last| ("last-event-id", last.as_str())));
        let path = format!("/api/{}/change-stream", asked.plural);
        let body = json!({ "options": asked.options });
        let lines = Lines::open(address, Version::Http1, &path, &headers, &body)?;
        let mut stream = Self { lines, id: None };
        let until = Instant::now() + Duration::from_secs(10);
        for expected in [":ok\n", "\n", "id: ", "\n"] {
            let line = stream.line(until)?.unwrap_or_default();
            assert!(line.starts_with(expected), "{line:?} instead of {expected:?}");
            stream.id =
                stream.id.or_else(|| line.strip_prefix("id: ").map(|id| id.trim().to_owned()));
        }
        Ok(stream)
    }

    /// Where the reader is.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The next change or error; `None` when the server ended the stream.
    ///
    /// # Panics
    /// At a line that no `EventSource` reads.
    #[track_caller]
    pub(crate) fn next(&mut self, within: Duration) -> Result<Option<Said>, Failed> {
        let until = Instant::now() + within;
        let (mut name, mut data) = (None, None);
        loop {
            let Some(line) = self.line(until)? else { return Ok(None) };
            let line = line.trim_end_matches('\n');
            match line.split_once(": ") {
                _ if line.is_empty() && name.is_none() => {}
                _ if line.is_empty() => break,
                _ if line.starts_with(':') => {}
                Some(("id", id)) => self.id = Some(id.to_owned()),
                Some(("event", event)) => name = Some(event.to_owned()),
                Some(("data", text)) if data.is_none() => data = Some(text.to_owned()),
                _ => panic!("unexpected line {line:?}"),
            }
        }
        let data = data.expect("an event has data");
        Ok(Some(match name.as_deref() {
            Some("data") => Said::Change(serde_json::from_str(&data).expect("a change")),
            Some("error") => Said::Error(serde_json::from_str(&data).expect("an error")),
            other => panic!("unexpected event {other:?}"),
        }))
    }

    /// The next change.
    ///
    /// # Panics
    /// When none comes `within` the time, or something else does.
    #[track_caller]
    pub(crate) fn change(&mut self, within: Duration) -> Change {
        match self.next(within).expect("a change comes").expect("the stream goes on") {
            Said::Change(change) => change,
            Said::Error(error) => panic!("the stream ends with {error}"),
        }
    }

    /// Comments come all the time: it is the event that must come by then.
    fn line(&mut self, until: Instant) -> Result<Option<String>, Failed> {
        self.lines.next(until.saturating_duration_since(Instant::now()))
    }
}

fn kind<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "create" => Ok(Kind::Add),
        "update" => Ok(Kind::Update),
        "remove" => Ok(Kind::Remove),
        other => Err(serde::de::Error::custom(format!("unknown type {other:?}"))),
    }
}
