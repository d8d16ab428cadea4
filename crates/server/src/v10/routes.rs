//! Fauna v10's routes, and those for tokens answered: `/stream/1` and `/feed/1`.
//!
//! Official drivers must work unmodified, so the checks come in the order of Fauna's server and
//! with its messages; fields that Fauna did not know are ignored, as it did.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::post;
use event_source_door::message::{Access, StartAt};
use event_source_model::cost::Cost;
use event_source_model::event::{LARGEST_PAGE, Reason, Refusal, View};
use event_source_model::position::{Cursor, Position};
use event_source_wire::v10;
use event_source_wire::v10::error::{Endpoint, is_said_in_band};
use serde_json::{Map, Value};

use super::{feed as pages, headers, query};
use crate::answer::{counted, json, refused, stream as stream_answer};
use crate::body::StreamBody;
use crate::budget::Peer;
use crate::credentials;
use crate::hub::{Format, Hub};
use crate::request;

const CONTENT_TYPE: &str = "application/json;charset=utf-8";
const DEFAULT_PAGE: u32 = 16;

pub(crate) fn routes() -> Router<Arc<Hub>> {
    Router::new().route("/stream/1", post(stream)).route("/feed/1", post(feed))
}

/// Of their own protocol: they need no token.
pub(crate) fn queries() -> Router<Arc<Hub>> {
    Router::new().route("/query/1", post(query::query))
}

async fn stream(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    if let Err(refusal) = credentials::look(&hub, request.headers()) {
        return refuse(&refusal, Endpoint::Stream);
    }
    let (parts, body) = match request::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let (start, opened) = match asked(&hub, &parts, &body) {
        Ok((access, start, _)) => {
            let format = Format::of(headers::frames(&parts.headers));
            let peer = Peer::of(&parts, &hub);
            (start.clone(), hub.open(&peer, access, start, format).await)
        }
        Err(refusal) => (StartAt::Token, Err(refusal)),
    };
    match opened {
        Ok(subscription) => {
            let id = HeaderValue::from(subscription.id());
            let mut response =
                stream_answer(CONTENT_TYPE, Body::new(StreamBody::new(subscription)));
            response.headers_mut().insert("x-fauna-stream-id", id);
            response
        }
        Err(refusal) if is_said_in_band(refusal.reason) => {
            stream_answer(CONTENT_TYPE, Body::from(refused_stream(&refusal, &start)))
        }
        Err(refusal) => refuse(&refusal, Endpoint::Stream),
    }
}

async fn feed(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    if let Err(refusal) = credentials::look(&hub, request.headers()) {
        return refuse(&refusal, Endpoint::Feed);
    }
    let (parts, body) = match request::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let asked = asked(&hub, &parts, &body);
    let time = match headers::time(&parts.headers) {
        Ok(time) => time,
        Err(wrong) => return wrong.into(),
    };
    let (start, page) = match asked {
        Ok((access, start, size)) => {
            let peer = Peer::of(&parts, &hub);
            (start.clone(), pages::page(&hub, &peer, access, start, size, time).await)
        }
        Err(refusal) => (StartAt::Token, Err(refusal)),
    };
    match page {
        Ok((page, purse)) => counted(StatusCode::OK, page, purse),
        Err(refusal) if is_said_in_band(refusal.reason) => {
            let own = own_cursor(&refusal, &start).map(|cursor| cursor.encode());
            let own = own.or(refusal.cursor.clone()).unwrap_or_default();
            json(StatusCode::OK, v10::error_page(&refusal, &own))
        }
        Err(refusal) => refuse(&refusal, Endpoint::Feed),
    }
}

fn asked(hub: &Hub, parts: &Parts, body: &[u8]) -> Result<(Access, StartAt, u32), Refusal> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
        return Err(invalid("expected a JSON object."));
    };
    let token = text(&mut fields, "token")?;
    let Some(token) = token else { return Err(invalid("Value for key token not found.")) };
    let start = start(&mut fields)?;
    let page_size = page_size(&mut fields)?;
    let Some(credential) = credentials::given(&parts.headers, None)? else {
        return Err(Refusal::new(Reason::Unauthorized, "no credential was given"));
    };
    let required = hub.config().require_secret;
    let access = credentials::access(Some(token), Some(credential), required)?;
    Ok((access, start, page_size))
}

fn start(fields: &mut Map<String, Value>) -> Result<StartAt, Refusal> {
    let cursor = text(fields, "cursor")?;
    let start_ts = integer(fields, "start_ts")?;
    match (cursor, start_ts) {
        (Some(_), Some(_)) => Err(invalid("can not provide both `start_ts` and `cursor`")),
        // This wire has no rows before the events.
        (Some(cursor), None)
            if Cursor::decode(&cursor).is_ok_and(|c| c.position.rows_behind().is_some()) =>
        {
            Err(Refusal::new(Reason::InvalidCursor, "the cursor is within a snapshot"))
        }
        (Some(cursor), None) => Ok(StartAt::Cursor(cursor)),
        (None, Some(micros)) => Ok(StartAt::Timestamp(micros)),
        (None, None) => Ok(StartAt::Token),
    }
}

fn page_size(fields: &mut Map<String, Value>) -> Result<u32, Refusal> {
    match integer(fields, "page_size")? {
        None => Ok(DEFAULT_PAGE),
        Some(..=0) => Err(invalid("page size must be greater than zero.")),
        Some(size) if size <= i64::from(LARGEST_PAGE) => Ok(size as u32),
        Some(_) => Err(invalid("page size can not be greater than 16000.")),
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(unexpected(&other)),
    }
}

fn integer(fields: &mut Map<String, Value>, name: &str) -> Result<Option<i64>, Refusal> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| unexpected(&value)),
    }
}

fn unexpected(value: &Value) -> Refusal {
    match value {
        Value::String(text) => invalid(format!("Unexpected string value '{text}'.")),
        Value::Number(n) => invalid(format!("Unexpected number value '{n}'.")),
        Value::Bool(b) => invalid(format!("Unexpected boolean value '{b}'.")),
        Value::Array(_) => invalid("Unexpected array value."),
        Value::Null | Value::Object(_) => invalid("Unexpected object value."),
    }
}

/// A stream that only says why there is none: the status that opens every stream, when it is
/// known where that would have been, then the error.
fn refused_stream(refusal: &Refusal, start: &StartAt) -> String {
    let mut body = String::new();
    if let Some(Cursor { history, position }) = own_cursor(refusal, start) {
        let view = View { collection: String::new(), fields: None, projection: None, history };
        v10::status(&mut body, &view, &position, Cost::default());
        body.push_str("\r\n");
    }
    v10::error(&mut body, refusal);
    body.push_str("\r\n");
    body
}

/// Where the request wanted to start, as far as it says so itself.
fn own_cursor(refusal: &Refusal, start: &StartAt) -> Option<Cursor> {
    let decoded = |text: &str| Cursor::decode(text).ok();
    match start {
        StartAt::Cursor(text) => decoded(text),
        StartAt::Timestamp(micros) => {
            let history = decoded(refusal.cursor.as_deref()?)?.history;
            Some(Cursor { history, position: Position::after(*micros) })
        }
        StartAt::Token | StartAt::Snapshot => None,
    }
}

fn refuse(refusal: &Refusal, endpoint: Endpoint) -> Response {
    let (status, body) = v10::http_error(refusal, endpoint);
    refused(status, body, refusal.reason)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidRequest, message)
}
