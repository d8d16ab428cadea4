//! The native stream, as JSON lines or as server-sent events.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::event::{Event, Kind};
use super::http::{Connection, Failed, Version, accepted, runtime};

/// How the native stream frames its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Lines,
    /// Server-sent events; a resume goes by `Last-Event-ID`, as browsers do it.
    Sse,
}

/// What is asked of `/v1/stream`.
#[derive(Clone, Debug)]
pub struct Request {
    pub token: String,
    pub cursor: Option<String>,
    /// `prev`, `diff` or both with a comma.
    pub include: Option<String>,
    pub form: Form,
    pub version: Version,
    pub secret: Option<String>,
    /// The set's rows first.
    pub snapshot: bool,
}

impl Request {
    /// JSON lines over HTTP/1.1 from the token's start.
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            cursor: None,
            include: None,
            form: Form::Lines,
            version: Version::Http1,
            secret: None,
            snapshot: false,
        }
    }

    #[must_use]
    pub fn with_snapshot(mut self) -> Self {
        self.snapshot = true;
        self
    }

    #[must_use]
    pub fn after(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }

    #[must_use]
    pub fn with_prev(mut self) -> Self {
        self.include = Some("prev".to_owned());
        self
    }

    #[must_use]
    pub fn over(mut self, form: Form, version: Version) -> Self {
        (self.form, self.version) = (form, version);
        self
    }
}

/// An open stream. Dropping it breaks the connection.
#[derive(Debug)]
pub struct Stream {
    // First, so that the connection's task outlives the body that reads from it.
    body: Incoming,
    form: Form,
    read: BytesMut,
    /// How far `read` was searched for an end of line.
    searched: usize,
    sse: SseFields,
    _connection: Connection,
    runtime: Runtime,
}

/// The fields of the server-sent event that is being read.
#[derive(Debug, Default)]
struct SseFields {
    id: Option<String>,
    data: Option<String>,
}

impl Stream {
    /// Opens a stream.
    pub fn open(address: SocketAddr, request: &Request) -> Result<Self, Failed> {
        let runtime = runtime()?;
        let (connection, answer) = runtime.block_on(async {
            let mut connection = Connection::open(address, request.version).await?;
            let (headers, body) = head_and_body(request);
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let answer = connection.post(address, "/v1/stream", &headers, &body).await?;
            Ok::<_, Failed>((connection, accepted(answer).await?))
        })?;
        let wanted = match request.form {
            Form::Lines => "application/x-ndjson",
            Form::Sse => "text/event-stream",
        };
        let got = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("");
        if !got.starts_with(wanted) {
            return Err(Failed::Malformed(format!("content type {got:?} instead of {wanted:?}")));
        }
        Ok(Self {
            body: answer.into_body(),
            form: request.form,
            read: BytesMut::new(),
            searched: 0,
            sse: SseFields::default(),
            _connection: connection,
            runtime,
        })
    }

    /// The next event; `None` when the server ended the stream.
    ///
    /// [`Failed::TimedOut`] when no byte came `within` the time; reading may go on after that.
    pub fn next(&mut self, within: Duration) -> Result<Option<Event>, Failed> {
        loop {
            while let Some(line) = self.line()? {
                let event = match self.form {
                    Form::Lines => Some(parse(&line)?),
                    Form::Sse => self.sse.take(&line)?,
                };
                if event.is_some() {
                    return Ok(event);
                }
            }
            if !self.more(within)? {
                return Ok(None);
            }
        }
    }

    /// Reads more of the body; `false` at its end.
    fn more(&mut self, within: Duration) -> Result<bool, Failed> {
        let frame = self.runtime.block_on(async { timeout(within, self.body.frame()).await });
        match frame {
            Err(_) => Err(Failed::TimedOut(within)),
            Ok(None) if self.read.is_empty() => Ok(false),
            Ok(None) => Err(Failed::Malformed("the body ended inside a line".to_owned())),
            Ok(Some(frame)) => {
                if let Ok(data) = frame?.into_data() {
                    self.read.extend_from_slice(&data);
                }
                Ok(true)
            }
        }
    }

    /// The next change, behind nothing but statuses.
    ///
    /// # Panics
    /// When none comes `within` the time, or something else does.
    #[track_caller]
    pub fn next_change(&mut self, within: Duration) -> Event {
        loop {
            let event = self.next(within).expect("an event comes").expect("the stream goes on");
            if event.kind.is_change() {
                return event;
            }
            assert_eq!(event.kind, Kind::Status, "{event:?}");
        }
    }

    /// The next line as it is on the wire, without its end; of [`Form::Lines`].
    pub fn next_line(&mut self, within: Duration) -> Result<Option<String>, Failed> {
        loop {
            if let Some(line) = self.line()? {
                return Ok(Some(line));
            }
            if !self.more(within)? {
                return Ok(None);
            }
        }
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Result<Option<String>, Failed> {
        let Some(found) = self.read[self.searched..].iter().position(|b| *b == b'\n') else {
            self.searched = self.read.len();
            return Ok(None);
        };
        let line = self.read.split_to(self.searched + found);
        self.read.advance(1);
        self.searched = 0;
        let line = std::str::from_utf8(&line).map_err(|e| Failed::Malformed(e.to_string()))?;
        Ok(Some(line.to_owned()))
    }
}

/// The headers and the body of a request.
fn head_and_body(request: &Request) -> (Vec<(&'static str, String)>, Value) {
    let mut headers = Vec::new();
    let mut body = json!({ "token": request.token });
    if let Some(include) = &request.include {
        body["include"] = json!(include);
    }
    if request.snapshot {
        body["snapshot"] = json!(true);
    }
    if let Some(secret) = &request.secret {
        headers.push(("authorization", format!("Bearer {secret}")));
    }
    match (request.form, &request.cursor) {
        (Form::Lines, Some(cursor)) => body["cursor"] = json!(cursor),
        (Form::Sse, Some(cursor)) => headers.push(("last-event-id", cursor.clone())),
        (_, None) => {}
    }
    if request.form == Form::Sse {
        headers.push(("accept", "text/event-stream".to_owned()));
    }
    (headers, body)
}

impl SseFields {
    /// Takes one line; an empty one completes the event.
    fn take(&mut self, line: &str) -> Result<Option<Event>, Failed> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            let Self { id, data } = std::mem::take(self);
            let Some(data) = data else { return Ok(None) };
            let event = parse(&data)?;
            if event.cursor.is_some() && event.cursor != id {
                return Err(Failed::Malformed(format!("id {id:?} beside {data}")));
            }
            return Ok(Some(event));
        }
        match line.split_once(':') {
            Some(("", _comment)) => {}
            Some(("id", value)) => self.id = Some(value.trim_start().to_owned()),
            Some(("data", value)) if self.data.is_none() => {
                self.data = Some(value.trim_start().to_owned());
            }
            // Default messages only, one line of data each: what every EventSource can read.
            _ => return Err(Failed::Malformed(format!("unexpected line {line:?}"))),
        }
        Ok(None)
    }
}

/// Reads one event.
pub(super) fn parse(line: &str) -> Result<Event, Failed> {
    serde_json::from_str(line).map_err(|e| Failed::Malformed(format!("{e}: {line:?}")))
}

#[cfg(test)]
mod tests {
    use super::super::event::Kind;
    use super::*;

    fn take(lines: &[&str]) -> Result<Option<Event>, Failed> {
        let mut fields = SseFields::default();
        let mut got = None;
        for line in lines {
            got = fields.take(line)?;
        }
        Ok(got)
    }

    #[test]
    fn a_message_is_complete_with_its_empty_line() {
        let data = r#"data: {"type":"status","txn_ts":7,"cursor":"c"}"#;
        assert!(take(&["id: c", data]).expect("well formed").is_none());
        let event =
            take(&[": comment", "id: c", data, ""]).expect("well formed").expect("complete");
        assert_eq!((event.kind, event.txn_ts), (Kind::Status, Some(7)));
    }

    #[test]
    fn an_id_that_is_not_the_cursor_is_malformed() {
        let data = r#"data: {"type":"status","txn_ts":7,"cursor":"c"}"#;
        assert!(take(&["id: other", data, ""]).is_err());
        assert!(take(&[data, ""]).is_err());
    }

    #[test]
    fn what_browsers_would_need_a_listener_for_is_malformed() {
        assert!(take(&["event: change"]).is_err());
        assert!(take(&["data: {", "data: }"]).is_err());
    }

    #[test]
    fn an_unknown_field_of_an_event_is_malformed() {
        assert!(parse(r#"{"type":"add","surprise":1}"#).is_err());
        assert!(parse(r#"{"type":"add","key":1,"data":{"surprise":1}}"#).is_ok());
    }
}
