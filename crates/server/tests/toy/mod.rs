//! A fifth protocol, whole: what adding one takes. Plain text, a line an event.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use event_source_door::message::{Access, StartAt};
use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_server::body::StreamBody;
use event_source_server::budget::Peer;
use event_source_server::hub::{Cut, Format, Hub, Renderer};
use event_source_wire::plain::{self, Numbers};
use event_source_wire::shown::Shown;

pub(crate) fn routes() -> Router<Arc<Hub>> {
    Router::new().route("/toy/{token}", get(follow))
}

async fn follow(State(hub): State<Arc<Hub>>, peer: Peer, Path(token): Path<String>) -> Response {
    let access = Access { token, secret: None };
    match hub.open(&peer, access, StartAt::Token, Format::of(Toy)).await {
        Ok(subscription) => Body::new(StreamBody::new(subscription)).into_response(),
        Err(refusal) => (StatusCode::FORBIDDEN, refusal.message).into_response(),
    }
}

#[derive(Debug)]
struct Toy;

impl Renderer for Toy {
    fn name(&self) -> String {
        "toy".to_owned()
    }

    fn event(&self, out: &mut String, view: &View, shown: Shown<'_>, _micros: u64) {
        out.push_str(shown.kind.name());
        out.push(' ');
        plain::data(out, view, shown.image(), Numbers::Digits);
        out.push('\n');
    }

    fn status(&self, out: &mut String, _view: &View, _position: &Position, _cost: Cost) {
        out.push_str("here\n");
    }

    fn error(&self, out: &mut String, _view: &View, refusal: &Refusal) {
        out.push_str("over: ");
        out.push_str(&refusal.message);
        out.push('\n');
    }

    fn cut(&self) -> Cut {
        Cut::Chunks
    }
}
