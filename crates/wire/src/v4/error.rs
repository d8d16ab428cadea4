//! The one place where the v4 wire chooses a status, a code and a description.
//!
//! The texts are those of Fauna's server: its clients' users search for them. Each has its own codes
//! for an answer, and for an event within a stream.

use event_source_model::event::{Reason, Refusal};
use event_source_model::query::{Failure, Fault};

use super::event::body;
use crate::json;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub status: u16,
    pub code: &'static str,
    pub description: String,
}

impl Wrong {
    fn new(status: u16, code: &'static str, description: impl Into<String>) -> Self {
        Self { status, code, description: description.into() }
    }

    /// An expression that is none, or asks for what is not served.
    pub fn expression(description: impl Into<String>) -> Self {
        Self::new(400, "invalid expression", description)
    }

    /// An expression whose value is not what it should be.
    pub fn argument(description: impl Into<String>) -> Self {
        Self::new(400, "invalid argument", description)
    }

    /// A ref to what is not there, `what` being `collection 'foo'`.
    pub fn undefined(what: impl std::fmt::Display) -> Self {
        Self::new(400, "invalid ref", format!("Ref refers to undefined {what}"))
    }

    pub fn url_parameter(description: impl Into<String>) -> Self {
        Self::new(400, "invalid url parameter", description)
    }

    pub fn header(name: &str, value: &str) -> Self {
        let text = format!("Invalid header '{name}': Invalid timestamp '{value}'.");
        Self::new(400, "bad request", text)
    }

    pub fn future(micros: i64) -> Self {
        let at = event_source_model::time::unix_instant(micros);
        Self::new(400, "bad request", format!("Cannot read at {at}, it is too far in the future."))
    }

    pub fn no_document() -> Self {
        Self::new(404, "instance not found", "Document not found.")
    }

    pub fn method(allowed: &str) -> Self {
        Self::new(405, "method not allowed", format!("Allowed methods are {allowed}."))
    }

    /// A body that was not read, for which HTTP has a status.
    pub fn body(status: u16) -> Self {
        match status {
            413 => Self::new(413, "request too large", "Request body is too large."),
            408 => Self::new(408, "time out", "Request body did not come in time."),
            503 => Self::new(503, "time out", "Too many request bodies are being read."),
            _ => Self::new(400, "bad request", "Request body cannot be read."),
        }
    }

    pub fn time_out() -> Self {
        Self::new(503, "time out", "Query timed out.")
    }

    /// A refusal of the worker's, or of the server's own.
    pub fn refused(refusal: &Refusal) -> Self {
        let own = || with_hint(&refusal.message, refusal.hint.as_deref());
        match refusal.reason {
            Reason::Unauthorized | Reason::InvalidToken => {
                Self::new(401, "unauthorized", "Unauthorized")
            }
            Reason::PermissionDenied | Reason::Forbidden => {
                Self::new(403, "permission denied", DENIED)
            }
            Reason::NotFound | Reason::SourceGone => Self::new(404, "instance not found", own()),
            Reason::LimitExceeded => {
                Self::new(429, "too many requests", "Rate limit for streams exceeded")
            }
            Reason::Contended => Self::new(409, "contended transaction", own()),
            Reason::TimedOut | Reason::Unavailable => Self::new(503, "time out", own()),
            Reason::Internal => Self::new(500, "internal server error", own()),
            Reason::InvalidRequest
            | Reason::InvalidCursor
            | Reason::StartBeforeToken
            | Reason::PositionGone
            | Reason::HistoryChanged
            | Reason::SchemaChanged
            | Reason::EvaluationFailed => Self::new(400, "bad request", own()),
        }
    }

    /// What the worker found wrong with an expression. `what` says what of it was not found.
    pub fn failed(failure: &Failure, what: &str) -> Self {
        let own = with_hint(&failure.message, failure.hint.as_deref());
        match failure.fault {
            Fault::UnboundVariable => Self::undefined(what),
            Fault::PermissionDenied => Self::new(403, "permission denied", DENIED),
            Fault::Contended => Self::new(409, "contended transaction", own),
            Fault::TimeOut => Self::new(503, "time out", own),
            Fault::InvalidArgument => Self::argument(own),
            // The first document of a set that has none.
            Fault::InvalidReceiver => Self::no_document(),
            Fault::InvalidQuery | Fault::InvalidFunctionInvocation | Fault::Abort => {
                Self::expression(own)
            }
        }
    }
}

const DENIED: &str = "Insufficient privileges to perform the action.";

/// The body of an answer that says what is wrong, each with the place in the expression that v4 gave.
pub fn errors(all: &[Wrong]) -> String {
    let mut out = "{\"errors\":[".to_owned();
    for (at, wrong) in all.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str("{\"position\":[],\"code\":");
        json::string(&mut out, wrong.code);
        out.push_str(",\"description\":");
        json::string(&mut out, &wrong.description);
        out.push('}');
    }
    out.push_str("]}");
    body(&out)
}

/// Whether a stream that is refused for this says so in an event: a client that may come again learns
/// nothing from a status.
pub fn is_said_in_band(reason: Reason) -> bool {
    reason == Reason::LimitExceeded
}

/// Code and description of the event that ends a stream.
pub(super) fn event_error(refusal: &Refusal) -> (&'static str, String) {
    let own = with_hint(&refusal.message, refusal.hint.as_deref());
    match refusal.reason {
        Reason::Unauthorized
        | Reason::InvalidToken
        | Reason::PermissionDenied
        | Reason::Forbidden => {
            ("permission denied", "Authorization lost during stream evaluation.".to_owned())
        }
        Reason::LimitExceeded => ("too many requests", "Too many open streams.".to_owned()),
        // What was to come is not in the log any more.
        Reason::PositionGone | Reason::HistoryChanged => {
            ("time out", format!("Stream timed out while synchronizing. {own}"))
        }
        Reason::TimedOut | Reason::Contended | Reason::Unavailable => {
            ("time out", format!("Stream was unexpectedly closed by its source. {own}"))
        }
        Reason::NotFound | Reason::SourceGone | Reason::SchemaChanged => {
            ("instance not found", own)
        }
        Reason::EvaluationFailed => ("invalid expression", own),
        Reason::InvalidRequest | Reason::InvalidCursor | Reason::StartBeforeToken => {
            ("bad request", own)
        }
        Reason::Internal => ("internal server error", own),
    }
}

/// v4 has no place for a hint but the description.
fn with_hint(message: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{message} ({hint})"),
        None => message.to_owned(),
    }
}
