//! `/health`: the process answers. `/ready`: what it would serve is fresh.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::answer::json;
use crate::clock;
use crate::hub::Hub;

/// After this many status intervals without progress a load balancer should look elsewhere.
const INTERVALS: i64 = 3;

pub(crate) async fn health() -> Response {
    json(StatusCode::OK, r#"{"status":"ok"}"#)
}

pub(crate) async fn ready(State(hub): State<Arc<Hub>>) -> Response {
    let limit = hub.config().status_interval_ms as i64 * 1000 * INTERVALS;
    let not_ready =
        |why: &str| json(StatusCode::SERVICE_UNAVAILABLE, format!(r#"{{"status":"{why}"}}"#));
    match hub.closed() {
        _ if hub.is_stopping() => not_ready("stopping"),
        None => not_ready("starting"),
        Some(closed) if clock::now() - closed > limit => not_ready("the closed timestamp is old"),
        Some(_) => json(StatusCode::OK, r#"{"status":"ready"}"#),
    }
}
