//! The native routes.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use event_source_door::message::{Access, PageAsked, StartAt};
use event_source_model::event::{Page, Refusal};
use event_source_wire::native::{Options, PageWriter};

use super::params::Params;
use super::renderer::{Framing, Native};
use super::websocket;
use crate::answer::{counted, damaged, refusal as refused, stream as stream_answer};
use crate::body::StreamBody;
use crate::budget::{Peer, Purse};
use crate::credentials;
use crate::hub::{Format, Hub, Next, Subscription};
use crate::request;

pub(crate) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/v1/stream", get(stream).post(stream).connect(stream))
        .route("/v1/feed", get(feed).post(feed))
}

/// What both routes are asked.
struct Asked {
    access: Access,
    start: StartAt,
    options: Options,
}

async fn stream(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    if let Err(refusal) = credentials::look(&hub, request.headers()) {
        return refused(&refusal);
    }
    if websocket::is_wanted(request.method(), request.headers()) {
        // Its body is the socket.
        let (mut parts, _) = request.into_parts();
        return match opened(&hub, &parts, &[], Framing::Lines).await {
            Ok(subscription) => websocket::serve(&hub, &mut parts, subscription).await,
            Err(refusal) => refused(&refusal),
        };
    }
    let (parts, body) = match request::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let sse = wants_sse(&parts.headers);
    let framing = if sse { Framing::Sse } else { Framing::Lines };
    match opened(&hub, &parts, &body, framing).await {
        Ok(subscription) => {
            let content_type = if sse { "text/event-stream" } else { "application/x-ndjson" };
            stream_answer(content_type, Body::new(StreamBody::new(subscription)))
        }
        Err(refusal) => refused(&refusal),
    }
}

async fn opened(
    hub: &Arc<Hub>,
    parts: &Parts,
    body: &[u8],
    framing: Framing,
) -> Result<Subscription, Refusal> {
    let mut params = Params::read(parts.uri.query(), body)?;
    let asked = asked(hub, parts, &mut params)?;
    params.finish()?;
    let renderer = Native { framing, options: asked.options };
    let peer = Peer::of(parts, hub);
    hub.open(&peer, asked.access, asked.start, Format::of(renderer)).await
}

async fn feed(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    if let Err(refusal) = credentials::look(&hub, request.headers()) {
        return refused(&refusal);
    }
    let (parts, body) = match request::read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let answered = async {
        let mut params = Params::read(parts.uri.query(), &body)?;
        let asked = asked(&hub, &parts, &mut params)?;
        let page_size = params.page_size()?;
        let wait = params.wait()?;
        params.finish()?;
        let Asked { access, start, options } = asked;
        let asking = Asking { hub: &hub, peer: Peer::of(&parts, &hub), access, page_size, options };
        let page = asking.written(start).await?;
        let page = if wait > Duration::ZERO && page.is_idle() {
            asking.wait_for_events(page, wait).await?
        } else {
            page
        };
        Ok((page, page_size))
    };
    match answered.await {
        Ok((page, page_size)) => {
            let is_final = page.is_final(page_size);
            let mut response = counted(StatusCode::OK, page.text, page.purse);
            if is_final {
                let headers = response.headers_mut();
                let forever = HeaderValue::from_static("private, max-age=3600, immutable");
                headers.insert(CACHE_CONTROL, forever);
                headers.append(VARY, HeaderValue::from_static("Authorization"));
            }
            response
        }
        Err(refusal) => refused(&refusal),
    }
}

fn asked(hub: &Hub, parts: &Parts, params: &mut Params) -> Result<Asked, Refusal> {
    let credential = credentials::given(&parts.headers, params.take("access_token"))?;
    let required = hub.config().require_secret;
    let access = credentials::access(params.take("token"), credential, required)?;
    let last_event_id = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    Ok(Asked { access, start: params.start(last_event_id)?, options: params.options()? })
}

fn wants_sse(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// A page that was written while it came.
struct Written {
    text: String,
    events: usize,
    /// Its last part.
    last: Page,
    purse: Purse,
}

/// Somebody who asks for a page.
struct Asking<'a> {
    hub: &'a Hub,
    peer: Peer,
    access: Access,
    page_size: u32,
    options: Options,
}

impl Asking<'_> {
    /// A page that takes as long as the worker's own limits let it.
    async fn written(&self, start: StartAt) -> Result<Written, Refusal> {
        let asked = PageAsked { size: self.page_size, time_ms: None };
        let purse = self.hub.page_purse(&self.peer, &self.access);
        let mut parts = self.hub.page(&purse, self.access.clone(), start, asked).await?;
        let mut writer = PageWriter::new(self.options);
        let (mut events, mut last) = (0, None);
        loop {
            let (page, goes_on) = match (parts.next().await, last.take()) {
                (Ok(part), _) => {
                    let before = writer.bytes();
                    writer.part(&part.page).map_err(damaged)?;
                    events += part.page.events.len();
                    part.written(&purse, before, writer.bytes())
                }
                // What is wrong with the rest is said to whoever asks for the next page.
                (Err(_), Some(last)) => (last, false),
                (Err(refusal), None) => return Err(refusal),
            };
            if !goes_on {
                return Ok(Written { text: writer.end(&page), events, last: page, purse });
            }
            last = Some(page);
        }
    }

    /// Follows the source until something happens, then reads the page again.
    async fn wait_for_events(&self, idle: Written, wait: Duration) -> Result<Written, Refusal> {
        let start = StartAt::Cursor(idle.last.view.cursor(&idle.last.position));
        drop(idle);
        let format = Format::of(Native { framing: Framing::Lines, options: Options::default() });
        let opening = self.hub.open(&self.peer, self.access.clone(), start.clone(), format);
        let waited = opening.await?;
        // Over time the page is read again all the same: its cursor has moved on.
        let _ = tokio::time::timeout(wait, something_happens(&waited)).await;
        drop(waited);
        self.written(start).await
    }
}

impl Written {
    /// Nothing happened, and nothing is left to be read.
    fn is_idle(&self) -> bool {
        self.events == 0 && !self.last.has_next && self.last.error.is_none()
    }

    /// The same request will be answered by the same page for ever: not so the rows of a snapshot.
    fn is_final(&self, page_size: u32) -> bool {
        let Self { events, last, .. } = self;
        let is_of_log = last.position.rows_behind().is_none() && !last.ends_snapshot;
        is_of_log && *events == page_size as usize && last.has_next && last.error.is_none()
    }
}

async fn something_happens(waited: &Subscription) {
    loop {
        match poll_fn(|context| waited.poll_next(context, false)).await {
            Next::Chunk(chunk) if chunk.events == 0 => {}
            Next::Chunk(_) | Next::End(_) => return,
        }
    }
}
