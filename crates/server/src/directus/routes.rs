//! `/websocket`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::any;
use event_source_model::event::Refusal;

use super::connection::Connection;
use crate::budget::Peer;
use crate::hub::Hub;
use crate::{credentials, websocket};

pub(crate) fn routes() -> Router<Arc<Hub>> {
    Router::new().route("/websocket", any(open))
}

/// A bad credential is told over the open socket: Node's own WebSocket takes the program down when the
/// upgrade is refused.
async fn open(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let credential = credential(&parts);
    let (serving, peer) = (Arc::clone(&hub), Peer::of(&parts, &hub));
    let accepted = websocket::accept(&hub, &mut parts, |socket| async move {
        Connection::new(serving, peer, socket).run(credential).await;
    });
    accepted.await.unwrap_or_else(|response| response)
}

/// Of the URL, as browsers give it, or of a header.
fn credential(parts: &Parts) -> Result<Option<String>, Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "access_token");
    credentials::given(&parts.headers, given.map(|(_, token)| token.into_owned()))
}
