//! The one place where the native wire chooses a code and an HTTP status for a reason.

use event_source_model::event::Reason;

/// The `code` of an error object.
pub fn code(reason: Reason) -> &'static str {
    choice(reason).1
}

/// The HTTP status of a response that is an error.
pub fn status(reason: Reason) -> u16 {
    choice(reason).0
}

fn choice(reason: Reason) -> (u16, &'static str) {
    match reason {
        Reason::InvalidRequest
        | Reason::InvalidCursor
        | Reason::StartBeforeToken
        | Reason::EvaluationFailed => (400, "invalid_request"),
        // A token is a credential: a bad one is never worth more than none.
        Reason::InvalidToken | Reason::Unauthorized => (401, "unauthorized"),
        Reason::PermissionDenied | Reason::Forbidden => (403, "permission_denied"),
        Reason::NotFound => (404, "not_found"),
        Reason::PositionGone => (410, "position_gone"),
        Reason::HistoryChanged => (410, "history_changed"),
        Reason::SourceGone => (410, "source_gone"),
        Reason::SchemaChanged => (410, "schema_changed"),
        Reason::LimitExceeded => (429, "limit_exceeded"),
        Reason::TimedOut => (504, "time_out"),
        Reason::Contended | Reason::Unavailable => (503, "unavailable"),
        Reason::Internal => (500, "internal_error"),
    }
}
