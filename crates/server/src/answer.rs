//! Responses: JSON bodies, streams, and what is refused before a protocol has a say.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use event_source_model::encoding::Damaged;
use event_source_model::event::{Reason, Refusal};
use event_source_wire::native;

use crate::budget::Purse;

/// Seconds after which a client that was refused for now may come again.
pub(crate) const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// Nobody between the server and its reader keeps it.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Nor changes it: a proxy that compresses holds events back.
pub(crate) const NO_TRANSFORM: HeaderValue = HeaderValue::from_static("no-store, no-transform");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    response
}

/// A JSON body that counts until it is sent.
pub(crate) fn counted(status: StatusCode, text: String, purse: Purse) -> Response {
    json(status, purse.around(text))
}

/// An open stream.
pub(crate) fn stream(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, NO_TRANSFORM);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// A refusal in our own words.
pub(crate) fn refusal(refusal: &Refusal) -> Response {
    let mut body = String::new();
    native::error(&mut body, refusal);
    refused(native::error::status(refusal.reason), body, refusal.reason)
}

/// What cannot be read of the log.
pub(crate) fn damaged(damaged: Damaged) -> Refusal {
    Refusal::new(Reason::Internal, damaged.to_string())
}

/// An error of HTTP itself, which no reason stands for. Drivers of every wire find `error.code`.
pub(crate) fn http_error(status: StatusCode, code: &str, message: &str) -> Response {
    http_refusal(status, code, &Refusal::new(Reason::InvalidRequest, message))
}

/// As [`http_error`], with a hint.
pub(crate) fn http_refusal(status: StatusCode, code: &str, refusal: &Refusal) -> Response {
    let mut body = String::new();
    native::coded_error(&mut body, code, refusal);
    json(status, body)
}

pub(crate) fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A body that is an error, and when to come again.
pub(crate) fn refused(code: u16, body: String, reason: Reason) -> Response {
    let mut response = json(status(code), body);
    if matches!(reason, Reason::LimitExceeded | Reason::Contended | Reason::Unavailable) {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    }
    response
}
