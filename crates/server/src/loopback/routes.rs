//! The route of change streams.
//!
//! LoopBack has no tokens: one is made for each stream by the role of its credential, and never given out. A
//! browser that comes back says where it was, and so its new stream goes on there.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::any;
use event_source_door::message::{Access, StartAt};
use event_source_model::event::{Reason, Refusal};
use event_source_model::query::{Answer, Ask, Constant, EventSource, Fault, Name, Of, Rows, Span};
use event_source_model::token::PREFIX;
use event_source_wire::loopback::change::Output;
use event_source_wire::loopback::error::Problem;

use super::options::Asked;
use super::renderer::Changes;
use crate::answer::{json, status, stream as stream_answer};
use crate::body::StreamBody;
use crate::budget::Peer;
use crate::hub::{Format, Hub, Subscription};
use crate::{credentials, request};

/// What LoopBack calls the root of the API.
const ROOT: &str = "/api";

pub(crate) fn routes() -> Router<Arc<Hub>> {
    Router::new().route(&format!("{ROOT}/{{plural}}/change-stream"), any(change_stream))
}

async fn change_stream(
    State(hub): State<Arc<Hub>>,
    Path(plural): Path<String>,
    request: Request,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return failed(&no_method(request.method(), request.uri()));
    }
    if let Ok(Some(secret)) = credential(request.headers(), None)
        && let Err(refusal) = credentials::secret(&hub, &secret)
    {
        return failed(&Problem::refused(&refusal, false));
    }
    let (parts, body) = match request::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match opened(&hub, plural, &parts, &body).await {
        Ok((output, subscription)) => {
            let content_type = match output {
                Output::Events => "text/event-stream",
                Output::Lines => "application/json; boundary=NL",
            };
            stream_answer(content_type, Body::new(StreamBody::new(subscription)))
        }
        Err(problem) => failed(&problem),
    }
}

async fn opened(
    hub: &Arc<Hub>,
    plural: String,
    parts: &Parts,
    body: &[u8],
) -> Result<(Output, Subscription), Problem> {
    let mut asked = Asked::read(parts.uri.query(), &parts.headers, body)?;
    let secret = credential(&parts.headers, asked.access_token.take());
    let secret = secret.map_err(|refusal| Problem::refused(&refusal, false))?;
    let asking = Asking { hub, parts, secret };
    let collection = asking.collection(plural).await?;
    let options = asked.options;
    let token = asking.token(&collection, asked).await?;
    // Only who may see the table is told how it is made.
    if !collection.has_key {
        let message = format!("\"{}\" has no primary key to tell its rows by", collection.name);
        return Err(Problem::invalid(message));
    }
    let last = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = last.filter(|id| !id.is_empty()).map(str::to_owned);
    let start = last.map_or(StartAt::Token, StartAt::Cursor);
    let is_known = asking.secret.is_some();
    let access = Access { token, secret: asking.secret };
    let format = Format::of(Changes(options));
    let opened = hub.open(&Peer::of(parts, hub), access, start, format).await;
    Ok((options.output, opened.map_err(|refusal| Problem::refused(&refusal, is_known))?))
}

/// The collection that a path means.
struct Collection {
    name: String,
    has_key: bool,
}

/// Somebody who asks the worker.
struct Asking<'a> {
    hub: &'a Arc<Hub>,
    parts: &'a Parts,
    secret: Option<String>,
}

impl Asking<'_> {
    async fn collection(&self, plural: String) -> Result<Collection, Problem> {
        let ask = Ask::Plural(Name { text: plural, span: Span::default() });
        let Answer::Object(parts) = self.ask(ask).await? else { return Err(unexpected()) };
        let part = |wanted: &str| parts.iter().find(|(name, _)| name == wanted).map(|(_, p)| p);
        match (part("name"), part("key")) {
            (
                Some(Answer::Constant(Constant::Text(name))),
                Some(Answer::Constant(Constant::Bool(has_key))),
            ) => Ok(Collection { name: name.clone(), has_key: *has_key }),
            _ => Err(unexpected()),
        }
    }

    async fn token(&self, collection: &Collection, asked: Asked) -> Result<String, Problem> {
        let span = Span::default();
        let rows = Rows {
            collection: Name { text: collection.name.clone(), span },
            of: Of::All,
            filter: asked.test,
            shown: asked.shown,
        };
        let source = EventSource { lasts: true, ..EventSource::of(rows, span) };
        match self.ask(Ask::EventSource(source)).await? {
            Answer::EventSource(token) => Ok(token),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Problem> {
        let is_known = self.secret.is_some();
        let peer = Peer::of(self.parts, self.hub);
        match self.hub.query(&peer, self.secret.clone(), ask).await {
            Ok(Ok((answered, _))) => Ok(answered.answer),
            Ok(Err(failure)) if failure.fault == Fault::UnboundVariable => {
                Err(no_method(&self.parts.method, &self.parts.uri))
            }
            Ok(Err(failure)) => Err(Problem::failed(&failure, is_known)),
            Err(refusal) => Err(Problem::refused(&refusal, is_known)),
        }
    }
}

/// The secret. Besides what all protocols take it may be the whole `Authorization` header.
fn credential(
    headers: &HeaderMap,
    access_token: Option<String>,
) -> Result<Option<String>, Refusal> {
    let mut others: Vec<String> = access_token.into_iter().collect();
    let mut rest = headers.clone();
    rest.remove(AUTHORIZATION);
    for value in headers.get_all(AUTHORIZATION) {
        match value.to_str() {
            Ok(bare) if !bare.contains(' ') => others.push(bare.to_owned()),
            _ => drop(rest.append(AUTHORIZATION, value.clone())),
        }
    }
    let secret = credentials::given(&rest, others)?;
    // A token says what may be followed, not what may be asked.
    if secret.as_deref().is_some_and(|secret| secret.starts_with(PREFIX)) {
        return Err(Refusal::new(Reason::Unauthorized, "a change stream needs a secret"));
    }
    Ok(secret)
}

/// The path as LoopBack tells it, but for the credential that may be in it.
fn no_method(method: &Method, uri: &axum::http::Uri) -> Problem {
    let path = uri.path();
    let path = path.strip_prefix(ROOT).unwrap_or(path);
    let pairs = uri.query().unwrap_or_default().split('&');
    let told: Vec<&str> =
        pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("access_token")).collect();
    let mark = if told.is_empty() { "" } else { "?" };
    Problem::no_method(method.as_str(), &format!("{path}{mark}{}", told.join("&")))
}

fn unexpected() -> Problem {
    let refusal = Refusal::new(Reason::Internal, "the worker answered something else");
    Problem::refused(&refusal, true)
}

fn failed(problem: &Problem) -> Response {
    json(status(problem.status), problem.body())
}
