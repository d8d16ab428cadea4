//! The body of a request, read within bounds: nobody is known yet. One for which there is no room is refused.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use event_source_model::event::{Reason, Refusal};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::answer::{http_error, refusal};
use crate::budget::{Peer, Purse};

/// Longer than any token, cursor and list of names together.
const BODY_LIMIT: usize = 1 << 20;
/// A body that comes more slowly holds a connection for nothing.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Why there is no body.
enum Unread {
    TooLong,
    Broken,
    NoRoom,
}

/// Reads the whole body.
pub(crate) async fn read(request: Request) -> Result<(Parts, Bytes), Response> {
    let (parts, body) = request.into_parts();
    let purse = parts.extensions.get::<Peer>().map(Peer::body);
    match tokio::time::timeout(BODY_TIME, whole(body, purse)).await {
        Ok(Ok(bytes)) => Ok((parts, bytes)),
        Ok(Err(Unread::TooLong)) => Err(http_error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_size_exceeded",
            "the request body is over 1 MB",
        )),
        Ok(Err(Unread::Broken)) => Err(http_error(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "the request body cannot be read",
        )),
        Ok(Err(Unread::NoRoom)) => Err(refusal(
            &Refusal::new(Reason::Unavailable, "too many request bodies are being read")
                .hint("event_source.server_memory limits them; try again later"),
        )),
        Err(_) => Err(http_error(
            StatusCode::REQUEST_TIMEOUT,
            "time_out",
            "the request body did not come in time",
        )),
    }
}

/// Counted from its first byte until it is dropped.
async fn whole(mut body: Body, purse: Option<Purse>) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(Unread::TooLong);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > BODY_LIMIT {
            return Err(Unread::TooLong);
        }
        if purse.as_ref().is_some_and(|purse| !purse.try_add(data.len())) {
            return Err(Unread::NoRoom);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(match purse {
        Some(purse) if !bytes.is_empty() => purse.around(bytes),
        _ => bytes.into(),
    })
}
