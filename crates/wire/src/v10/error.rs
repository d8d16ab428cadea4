//! The one place where the v10 wire chooses a code, an HTTP status and a message for a reason.
//!
//! The messages are those of Fauna's server: its clients' users search for them.

use event_source_model::event::{Reason, Refusal};

/// Which endpoint answers; some messages differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Stream,
    Feed,
}

/// The `code` of an error event. `limit_exceeded` is never one: the Python driver takes it for a
/// pause and reads on in a body that has ended.
pub fn event_code(reason: Reason) -> &'static str {
    match reason {
        Reason::StartBeforeToken | Reason::PositionGone | Reason::HistoryChanged => {
            "invalid_stream_start_time"
        }
        // A stream that is open can only have lost them.
        Reason::Unauthorized
        | Reason::InvalidToken
        | Reason::PermissionDenied
        | Reason::Forbidden => "permission_loss",
        Reason::LimitExceeded => "stream_overflow",
        Reason::EvaluationFailed => "evaluation_failed",
        Reason::InvalidRequest
        | Reason::InvalidCursor
        | Reason::NotFound
        | Reason::SourceGone
        | Reason::SchemaChanged => "invalid_request",
        Reason::TimedOut | Reason::Contended | Reason::Unavailable | Reason::Internal => {
            "internal_error"
        }
    }
}

/// The message of an error event.
pub(crate) fn event_message(refusal: &Refusal) -> String {
    if refusal.reason.is_loss_of_rights() {
        return "Stream authentication is no longer valid.".to_owned();
    }
    with_hint(refusal)
}

/// Whether Fauna says this inside a response of status 200 rather than by an HTTP error.
pub fn is_said_in_band(reason: Reason) -> bool {
    matches!(reason, Reason::PositionGone | Reason::HistoryChanged)
}

/// The HTTP status and `code` of a response that is an error.
pub fn http(reason: Reason) -> (u16, &'static str) {
    match reason {
        Reason::Unauthorized => (401, "unauthorized"),
        Reason::Forbidden => (403, "forbidden"),
        Reason::LimitExceeded => (429, "limit_exceeded"),
        Reason::TimedOut => (440, "time_out"),
        Reason::Contended => (409, "contended_transaction"),
        Reason::Unavailable => (503, "time_out"),
        Reason::Internal => (500, "internal_error"),
        Reason::InvalidRequest
        | Reason::InvalidToken
        | Reason::InvalidCursor
        | Reason::StartBeforeToken
        | Reason::PermissionDenied
        | Reason::NotFound
        | Reason::PositionGone
        | Reason::HistoryChanged
        | Reason::SourceGone
        | Reason::SchemaChanged
        | Reason::EvaluationFailed => (400, "invalid_request"),
    }
}

/// The message of a response that is an error.
pub fn message(refusal: &Refusal, endpoint: Endpoint) -> String {
    let reason = with_hint(refusal);
    match (refusal.reason, endpoint) {
        (Reason::InvalidToken, Endpoint::Stream) => {
            "Invalid request body: invalid event source provided".to_owned()
        }
        (Reason::InvalidToken, Endpoint::Feed) => {
            "Invalid request body: invalid event source provided.".to_owned()
        }
        (Reason::InvalidCursor, _) => {
            "Invalid request body: invalid event cursor provided".to_owned()
        }
        (Reason::InvalidRequest, _) => format!("Invalid request body: {reason}"),
        (Reason::StartBeforeToken, _) => "Invalid stream start time: Stream start time can not be \
             before the stream create time."
            .to_owned(),
        (Reason::Unauthorized, _) => "Invalid token, unable to authenticate request".to_owned(),
        (
            Reason::Forbidden
            | Reason::LimitExceeded
            | Reason::TimedOut
            | Reason::Contended
            | Reason::Unavailable
            | Reason::Internal,
            _,
        ) => reason,
        (_, Endpoint::Stream) => format!("Error evaluating provided stream, {reason}"),
        (_, Endpoint::Feed) => format!("Error evaluating provided event source, {reason}"),
    }
}

/// The message of a refused query.
pub(crate) fn query_message(refusal: &Refusal) -> String {
    match refusal.reason {
        Reason::Unauthorized => "Invalid token, unable to authenticate request".to_owned(),
        Reason::InvalidRequest => format!("Invalid request body: {}", with_hint(refusal)),
        _ => with_hint(refusal),
    }
}

/// v10 has no place for a hint but the message.
pub(crate) fn with_hint(refusal: &Refusal) -> String {
    match &refusal.hint {
        Some(hint) => format!("{} ({hint})", refusal.message),
        None => refusal.message.clone(),
    }
}
