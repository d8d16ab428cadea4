//! The body of a request, read within bounds.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;

use crate::answer::http_error;

/// Longer than any token, cursor and list of names together.
const BODY_LIMIT: usize = 1 << 20;
/// A body that comes more slowly holds a connection for nothing.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Reads the whole body.
pub(crate) async fn read(request: Request) -> Result<(Parts, Bytes), Response> {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIME, to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(bytes)) => Ok((parts, bytes)),
        Ok(Err(error)) if is_too_long(&error) => Err(http_error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_size_exceeded",
            "the request body is over 1 MB",
        )),
        Ok(Err(_)) => Err(http_error(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "the request body cannot be read",
        )),
        Err(_) => Err(http_error(
            StatusCode::REQUEST_TIMEOUT,
            "time_out",
            "the request body did not come in time",
        )),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
