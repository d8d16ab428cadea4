//! Which request goes where, and what every response has in common.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use event_source_model::event::{Reason, Refusal};

use crate::accept::OverLimit;
use crate::answer::{NO_STORE, http_error, refusal as refused};
use crate::hub::Hub;
use crate::{cors, directus, health, loopback, native, v4, v10};

/// The protocols, a line each.
pub fn protocols() -> Router<Arc<Hub>> {
    Router::new()
        .merge(directus::routes())
        .merge(loopback::routes())
        .merge(native::routes())
        .merge(v10::routes())
        .merge(v4::routes())
}

/// The protocols, and what is no protocol's.
pub(crate) fn router(hub: Arc<Hub>, protocols: Router<Arc<Hub>>) -> Router {
    protocols
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(&hub), common))
        .with_state(hub)
}

/// What holds for every request, whatever its route.
async fn common(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let origins = hub.config().cors_origins;
    let origin = cors::allowed(&origins, request.headers());
    let old = request.version() < Version::HTTP_2;
    let over_limit = request.extensions().get::<OverLimit>().is_some();
    let mut response = if over_limit {
        over_the_limit(old)
    } else if cors::is_asked(request.method(), request.headers()) {
        let mut response = StatusCode::OK.into_response();
        cors::allow_request(response.headers_mut());
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    if let Some(origin) = origin {
        cors::allow(headers, origin, &origins);
    }
    response
}

fn over_the_limit(old: bool) -> Response {
    let refusal = Refusal::new(Reason::LimitExceeded, "too many clients")
        .hint("event_source.max_clients limits them; try again later");
    let mut response = refused(&refusal);
    if old {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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
