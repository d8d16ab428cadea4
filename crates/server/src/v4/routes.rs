//! v4's routes: `POST /stream`, `POST /` and `GET /ping`.
//!
//! Official drivers must work unmodified. They follow no token: a stream's own is made for the role of its
//! secret, is never given out, and ends with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use event_source_door::message::{Access, StartAt};
use event_source_model::event::Refusal;
use event_source_model::query::{Answer, Answered, Ask, EventSource, Rows, Shown, Span};
use event_source_wire::v4::error::{Wrong, errors, is_said_in_band};
use event_source_wire::v4::event::{self as wire, Of};
use event_source_wire::v4::{answer, frame};
use http_body_util::BodyExt as _;

use super::asked;
use super::expression::{self, Expression};
use super::renderer::V4;
use super::snapshot::{self, Question};
use super::starts::{Follower, Starts};
use crate::answer::{RETRY_SECONDS, counted, json, status, stream as stream_answer};
use crate::body::StreamBody;
use crate::budget::Peer;
use crate::hub::{Format, Hub, Subscription};
use crate::{credentials, request};

const CONTENT_TYPE: &str = "application/json;charset=utf-8";
const BUILD: HeaderValue =
    HeaderValue::from_static(concat!("event_source-", env!("CARGO_PKG_VERSION")));

pub(crate) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/stream", post(stream).fallback(only_post))
        .route("/", post(query))
        .route("/ping", get(ping))
        .layer(Extension(Arc::new(Starts::default())))
}

type Shared = (State<Arc<Hub>>, Extension<Arc<Starts>>);

async fn stream((State(hub), Extension(starts)): Shared, request: Request) -> Response {
    answered(&hub, follow(&hub, &starts, request).await)
}

async fn query((State(hub), Extension(starts)): Shared, request: Request) -> Response {
    answered(&hub, document(&hub, &starts, request).await.map_err(|wrong| vec![wrong]))
}

/// Whether the server is there. Whether it can answer is for `/ready` to say.
async fn ping(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let scope = form_urlencoded::parse(query).find(|(name, _)| name == "scope");
    let scope = scope.map_or("write".into(), |(_, scope)| scope);
    let body = answer::text(&format!("Scope {scope} is OK"));
    answered(&hub, Ok((json(StatusCode::OK, body), hub.closed())))
}

async fn only_post(State(hub): State<Arc<Hub>>) -> Response {
    let mut response = answered(&hub, Err(vec![Wrong::method("POST")]));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// A response, and the moment that it is of, in microseconds.
type At = (Response, Option<i64>);

/// What every answer has in common. A client asks later for nothing older than it was told here.
fn answered(hub: &Hub, outcome: Result<At, Vec<Wrong>>) -> Response {
    let (mut response, at) = outcome.unwrap_or_else(|all| (refused(&all), hub.closed()));
    let headers = response.headers_mut();
    headers.insert("x-faunadb-build", BUILD);
    if let Some(at) = at {
        headers.insert("x-txn-time", HeaderValue::from(at));
    }
    response
}

fn refused(all: &[Wrong]) -> Response {
    let code = all.first().map_or(500, |wrong| wrong.status);
    let mut response = json(status(code), errors(all));
    let headers = response.headers_mut();
    match code {
        401 => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        409 | 429 | 503 => drop(headers.insert(RETRY_AFTER, RETRY_SECONDS)),
        _ => {}
    }
    response
}

/// Opens a stream.
async fn follow(hub: &Arc<Hub>, starts: &Starts, request: Request) -> Result<At, Vec<Wrong>> {
    let one = |wrong| vec![wrong];
    let (parts, body) = read(hub, request).await.map_err(one)?;
    let fields = asked::fields(parts.uri.query())?;
    let expression = expression::parse(&body).map_err(one)?;
    let (source, of) = streamed(&expression).map_err(one)?;
    let question = question(hub, &parts, &expression, source).map_err(one)?;
    let secret = question.secret.clone();
    let peer = question.peer.clone();
    let (answered, _) = question.answered(hub).await.map_err(one)?;
    let opening = opening(answered).ok_or_else(|| vec![Wrong::no_document()])?;
    let Opening { token, since, is_there } = opening;
    if matches!(expression, Expression::Get(_)) && !is_there {
        return Err(vec![Wrong::no_document()]);
    }
    let is_python = asked::is_python(&parts.headers);
    let format = Format::of(V4 { of, fields, since });
    let access = Access { token, secret: secret.clone() };
    let opened = hub.open(&peer, access, StartAt::Token, format).await;
    let response = match opened {
        Ok(subscription) => {
            let id = HeaderValue::from(subscription.id());
            // The driver for Python asks for no document.
            if let Some(follower) = follower(&expression, secret.as_deref()).filter(|_| !is_python)
            {
                starts.give(follower, since);
            }
            let body = body_of(subscription, is_python);
            let mut response = stream_answer(CONTENT_TYPE, body);
            response.headers_mut().insert("x-fauna-stream-id", id);
            response
        }
        Err(refusal) if is_said_in_band(refusal.reason) => {
            let mut line = String::new();
            wire::error(&mut line, &refusal);
            stream_answer(CONTENT_TYPE, Body::from(line))
        }
        Err(refusal) => return Err(vec![Wrong::refused(&refusal)]),
    };
    Ok((response, Some(since)))
}

/// A document as it is now.
async fn document(hub: &Arc<Hub>, starts: &Starts, request: Request) -> Result<At, Wrong> {
    let (parts, body) = read(hub, request).await?;
    let expression = expression::parse(&body)?;
    let Expression::Get(_) = &expression else {
        let text = "Only Get of a document or of a set is answered here: SQL does the rest.";
        return Err(Wrong::expression(text));
    };
    let ask = Ask::Version { rows: rows(&expression, Shown::Document)?, at: None };
    let mut question = question(hub, &parts, &expression, ask)?;
    if let Expression::Get(of) = &expression
        && let Some(follower) = follower(of, question.secret.as_deref())
        && let Ask::Version { at, .. } = &mut question.ask
    {
        *at = starts.take(follower, question.last_seen);
    }
    let (time, last_seen) = (question.time, question.last_seen);
    let (answered, purse) = question.answered(hub).await?;
    match answered.answer {
        Answer::Version { view, row: Some(row), txn_ts, untold } => {
            // The client has heard of all that it shows when it is as of the stream's start.
            if txn_ts > last_seen {
                snapshot::told(hub, untold.then_some(txn_ts), time).await?;
            }
            let body = answer::resource(&view, &row, txn_ts);
            Ok((counted(StatusCode::OK, body, purse), Some(answered.txn_ts)))
        }
        _ => Err(Wrong::no_document()),
    }
}

/// The request with its body: whoever does not look like somebody who may ask is refused before that is read, and
/// whoever asks much before it is understood.
async fn read(hub: &Hub, request: Request) -> Result<(Parts, Bytes), Wrong> {
    let refused = |refusal: Refusal| Wrong::refused(&refusal);
    let secret = asked::secret(request.headers())?;
    credentials::of_query(hub, secret.as_deref()).map_err(refused)?;
    let read = request::read(request).await;
    let (parts, body) = read.map_err(|response| Wrong::body(response.status().as_u16()))?;
    let peer = Peer::of(&parts, hub);
    hub.vouch_for(&peer, secret.as_deref(), &body).await.map_err(refused)?;
    Ok((parts, body))
}

fn question<'a>(
    hub: &Hub,
    parts: &Parts,
    expression: &'a Expression,
    ask: Ask,
) -> Result<Question<'a>, Wrong> {
    let headers = &parts.headers;
    Ok(Question {
        expression,
        ask,
        secret: asked::secret(headers)?,
        peer: Peer::of(parts, hub),
        last_seen: asked::last_seen(headers, hub.closed())?,
        time: asked::time(headers)?,
    })
}

/// What is asked for a stream, and what its events are of.
fn streamed(expression: &Expression) -> Result<(Ask, Of), Wrong> {
    let (shown, of) = match expression {
        Expression::Document { .. } | Expression::Get(_) => (Shown::Document, Of::Document),
        Expression::Documents { .. } => (Shown::Covered, Of::Documents),
        Expression::Match { index, terms } => {
            let terms: Vec<&str> = terms.iter().map(|term| term.shown.as_str()).collect();
            let terms = format!("[{}]", terms.join(","));
            (Shown::Covered, Of::Index { name: index.clone(), terms })
        }
        Expression::Collection(_) | Expression::Index(_) | Expression::Other(_) => {
            return Err(not_streamable(expression));
        }
    };
    let rows = rows(expression, shown)?;
    let source = EventSource { lasts: true, ..EventSource::of(rows.clone(), Span::default()) };
    let source = Ask::EventSource(source);
    let ask = match of {
        // Its place in the order is where the stream starts: see `starts`.
        Of::Document => Ask::Array(vec![Ask::Version { rows, at: None }, source]),
        Of::Documents | Of::Index { .. } => source,
    };
    Ok((ask, of))
}

fn rows(expression: &Expression, shown: Shown) -> Result<Rows, Wrong> {
    let (collection, of) = expression.rows().ok_or_else(|| not_streamable(expression))?;
    Ok(Rows { collection, of, filter: None, shown })
}

fn not_streamable(expression: &Expression) -> Wrong {
    Wrong::argument(format!(
        "Expected a Document Ref or Version, or a Set Ref, got {}.",
        expression.kind()
    ))
}

/// What a stream begins with.
struct Opening {
    token: String,
    /// Every event is behind it, and everything up to it was seen by the answer.
    since: i64,
    /// Of a document.
    is_there: bool,
}

fn opening(answered: Answered) -> Option<Opening> {
    let since = answered.txn_ts;
    match answered.answer {
        Answer::EventSource(token) => Some(Opening { token, since, is_there: true }),
        Answer::Array(parts) => match <[Answer; 2]>::try_from(parts).ok()? {
            [Answer::Version { row, txn_ts, .. }, Answer::EventSource(token)] => {
                Some(Opening { token, since: since.max(txn_ts), is_there: row.is_some() })
            }
            _ => None,
        },
        _ => None,
    }
}

fn follower<'a>(of: &'a Expression, secret: Option<&'a str>) -> Option<Follower<'a>> {
    match of {
        Expression::Document { collection, id } => Some(Follower { collection, id, secret }),
        _ => None,
    }
}

/// The body of a stream. The driver for Python dies of a frame that holds nothing but the rest of a line
/// end, and the window of its connection may cut a frame anywhere; it needs no line ends, as every frame
/// begins with an event.
fn body_of(subscription: Subscription, is_python: bool) -> Body {
    let body = StreamBody::new(subscription);
    if !is_python {
        return Body::new(body);
    }
    Body::new(body.map_frame(|frame| frame.map_data(without_end)))
}

fn without_end(line: Bytes) -> Bytes {
    let end = frame::END.as_bytes();
    if line.ends_with(end) { line.slice(..line.len() - end.len()) } else { line }
}
