//! Which request goes where, and what every response has in common.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use event_source_door::protocols::Protocol;

use crate::answer::{NO_STORE, http_error};
use crate::gate::{self, Gate, HEALTH, Passed, READY};
use crate::hub::Hub;
use crate::{cors, directus, health, loopback, native, v4, v10};

/// The protocols, a line each.
pub fn protocols() -> Router<Arc<Hub>> {
    Router::new()
        .merge(of(Protocol::Directus, directus::routes()))
        .merge(of(Protocol::Loopback, loopback::routes()))
        .merge(of(Protocol::Native, native::routes()))
        .merge(of(Protocol::Fauna, v10::routes()))
        .merge(of(Protocol::FaunaQuery, v10::queries()))
        .merge(of(Protocol::FaunaV4, v4::routes()))
}

/// Routes that are there while `event_source.protocols` names their protocol.
fn of(protocol: Protocol, routes: Router<Arc<Hub>>) -> Router<Arc<Hub>> {
    let served = move |request, next| gate::served(protocol, request, next);
    routes.method_not_allowed_fallback(method_not_allowed).route_layer(from_fn(served))
}

/// The protocols, and what is no protocol's.
pub(crate) fn router(hub: Arc<Hub>, protocols: Router<Arc<Hub>>) -> Router {
    let gate = Arc::new(Gate::new(Arc::clone(&hub)));
    protocols
        .route(HEALTH, get(health::health))
        .route(READY, get(health::ready))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(gate, common))
        .with_state(hub)
}

/// What holds for every request, whatever its route.
async fn common(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let config = gate.config();
    let origins = config.cors_origins.as_str();
    let origin = cors::allowed(origins, request.headers());
    let passed = Passed::of(&request);
    let mut response = if let Some(refusal) = gate.refusal(&config, &mut request) {
        refusal
    } else if cors::is_asked(request.method(), request.headers()) {
        let mut response = StatusCode::OK.into_response();
        cors::allow_request(response.headers_mut());
        response
    } else {
        next.run(request).await
    };
    passed.log(&response);
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    if let Some(origin) = origin {
        cors::allow(headers, origin, origins);
    }
    response
}

async fn method_not_allowed() -> Response {
    let message = "the path does not know this method";
    http_error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

async fn not_found() -> Response {
    http_error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}
