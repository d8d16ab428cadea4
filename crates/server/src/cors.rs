//! Which web pages may read: those of `event_source.cors_origins`, none by default.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method};

/// Ours, and those that Fauna's browser client sends.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, accept-encoding, authorization, content-type, last-event-id, traceparent, \
     x-access-token, x-driver, x-driver-env, x-event-frames, x-format, x-last-txn-ts, x-linearized, \
     x-max-contention-retries, x-performance-hints, x-query-tags, x-query-timeout-ms, x-typecheck",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-fauna-stream-id");
/// Seconds that a browser remembers the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The request's origin, if it is among the allowed ones (a list with commas, `*` for any).
pub(crate) fn allowed(origins: &str, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    let mut list = origins.split(',').map(str::trim);
    list.any(|o| o == "*" || o.eq_ignore_ascii_case(text)).then(|| origin.clone())
}

/// A browser asks before it sends the request, on one of Fauna's paths. Fauna's server answered whoever
/// asked; an origin that is not allowed is not named in the answer, which is a refusal.
pub(crate) fn is_asked(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN)
}

/// Fauna's clients may send credentials of the browser's, but only from an origin that is named: `*`
/// means whoever brings a secret.
pub(crate) fn allow_credentials(headers: &mut HeaderMap, origins: &str) {
    let is_named = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|origin| origin.to_str().ok());
    let mut list = origins.split(',').map(str::trim);
    if is_named.is_some_and(|origin| list.any(|o| o.eq_ignore_ascii_case(origin))) {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// A browser asks before it sends the request.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets a page of this origin read the response.
pub(crate) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

/// What else the answer to a preflight says.
pub(crate) fn allow_request(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}
