//! Which web pages may read: those of `event_source.cors_origins`, none by default.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST,
    ORIGIN, VARY,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method};

/// Ours, and those that the browser clients of Fauna's two protocols send.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, accept-encoding, authorization, content-type, last-event-id, traceparent, \
     x-access-token, x-driver, x-driver-env, x-event-frames, x-fauna-driver, x-fauna-source, x-fauna-tags, \
     x-faunadb-api-version, x-format, x-last-seen-txn, x-last-txn-ts, x-linearized, \
     x-max-contention-retries, x-performance-hints, x-query-tags, x-query-timeout, x-query-timeout-ms, \
     x-typecheck",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-fauna-stream-id, x-txn-time");
/// Seconds that a browser remembers the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The request's origin, if it is among the allowed ones (a list with commas, `*` for any).
pub(crate) fn allowed(origins: &str, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    let mut list = origins.split(',').map(str::trim);
    list.any(|o| o == "*" || o.eq_ignore_ascii_case(text)).then(|| origin.clone())
}

/// A browser asks before it sends the request. Whoever asks is answered, as Fauna's servers did; an origin
/// that is not allowed is not named in the answer, which is a refusal.
pub(crate) fn is_asked(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN)
}

/// Fauna's clients may send credentials of the browser's, but only from an origin that is named: `*`
/// means whoever brings a secret.
fn allow_credentials(headers: &mut HeaderMap, origins: &str) {
    let is_named = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|origin| origin.to_str().ok());
    let mut list = origins.split(',').map(str::trim);
    if is_named.is_some_and(|origin| list.any(|o| o.eq_ignore_ascii_case(origin))) {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Lets a page of this origin read the response.
pub(crate) fn allow(headers: &mut HeaderMap, origin: HeaderValue, origins: &str) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
    allow_credentials(headers, origins);
}

/// Whether a WebSocket may be opened: browsers let any page do so, and ask nobody. What names no origin is
/// no browser; a page that came from here itself is always allowed.
pub(crate) fn may_upgrade(origins: &str, parts: &Parts) -> bool {
    let Some(origin) = parts.headers.get(ORIGIN) else { return true };
    if allowed(origins, &parts.headers).is_some() {
        return true;
    }
    let own = parts.uri.authority().map(Authority::as_str);
    let own = own.or_else(|| parts.headers.get(HOST)?.to_str().ok());
    let theirs = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    own.is_some() && own.map(str::to_ascii_lowercase) == theirs.map(str::to_ascii_lowercase)
}

/// What else the answer to a preflight says.
pub(crate) fn allow_request(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}
