//! Errors in Directus' words, and the one place where a reason gets its code.

use event_source_model::event::Reason;

use super::message::{Uid, finish};
use crate::json;

pub const FORBIDDEN: &str = "FORBIDDEN";
pub const INVALID_PAYLOAD: &str = "INVALID_PAYLOAD";
pub const INVALID_QUERY: &str = "INVALID_QUERY";
pub const LIMIT_EXCEEDED: &str = "LIMIT_EXCEEDED";
pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
pub const SERVICE_UNAVAILABLE: &str = "SERVICE_UNAVAILABLE";
pub const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";
const AUTH_FAILED: &str = "AUTH_FAILED";
const AUTH_TIMEOUT: &str = "AUTH_TIMEOUT";
const INTERNAL_SERVER_ERROR: &str = "INTERNAL_SERVER_ERROR";

/// Which part of the protocol an error is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    Server,
    Auth,
    /// The SDK throws these into every loop over a subscription of the socket.
    Subscribe,
    Items,
}

/// A code and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: String,
    pub message: String,
}

impl Problem {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    pub fn unreadable() -> Self {
        Self::new(INVALID_PAYLOAD, "Unable to parse the incoming message.")
    }

    pub fn validation(what: impl std::fmt::Display) -> Self {
        Self::new(INVALID_PAYLOAD, format!("Validation error: {what}"))
    }

    pub fn query(why: impl std::fmt::Display) -> Self {
        Self::new(INVALID_QUERY, format!("Invalid query. {why}"))
    }

    pub fn no_collection(name: &str) -> Self {
        let message = format!(
            "You don't have permission to access collection \"{name}\" or it does not exist. Queried in root."
        );
        Self::new(FORBIDDEN, message)
    }

    pub fn no_field(field: &str, collection: &str) -> Self {
        let message = format!(
            "You don't have permission to access field \"{field}\" in collection \"{collection}\" or it does \
             not exist. Queried in root."
        );
        Self::new(FORBIDDEN, message)
    }

    pub fn no_item() -> Self {
        Self::new(FORBIDDEN, "You don't have permission to access this.")
    }

    pub fn handshake_failed() -> Self {
        Self::new(AUTH_FAILED, "Authentication handshake failed.")
    }

    pub fn authentication_failed() -> Self {
        Self::new(AUTH_FAILED, "Authentication failed.")
    }

    pub fn token_expired() -> Self {
        Self::new(TOKEN_EXPIRED, "Token expired.")
    }

    pub fn authentication_timed_out() -> Self {
        Self::new(AUTH_TIMEOUT, "Authentication timed out.")
    }
}

/// An error that answers a message, or that concerns the connection.
pub fn error(area: Area, problem: &Problem, uid: Option<&Uid>) -> String {
    let area = match area {
        Area::Server => "server",
        Area::Auth => "auth",
        Area::Subscribe => "subscribe",
        Area::Items => "items",
    };
    let mut out = format!("{{\"type\":\"{area}\",\"status\":\"error\",\"error\":");
    object(&mut out, problem);
    finish(&mut out, uid);
    out
}

/// The end of one subscription, which the SDK gives to its reader alone.
pub fn ended(problem: &Problem, uid: Option<&str>) -> String {
    let mut out = "{\"type\":\"subscription\",\"event\":\"error\",\"error\":".to_owned();
    object(&mut out, problem);
    if let Some(uid) = uid {
        out.push_str(",\"uid\":");
        json::string(&mut out, uid);
    }
    out.push('}');
    out
}

/// The `code` of a reason.
pub fn code(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidRequest
        | Reason::InvalidCursor
        | Reason::StartBeforeToken
        | Reason::EvaluationFailed => INVALID_QUERY,
        Reason::Unauthorized | Reason::InvalidToken => TOKEN_EXPIRED,
        Reason::PermissionDenied | Reason::Forbidden | Reason::NotFound | Reason::SourceGone => {
            FORBIDDEN
        }
        Reason::LimitExceeded => LIMIT_EXCEEDED,
        // Whoever subscribes again gets a fresh `init`.
        Reason::PositionGone
        | Reason::HistoryChanged
        | Reason::SchemaChanged
        | Reason::TimedOut
        | Reason::Contended
        | Reason::Unavailable => SERVICE_UNAVAILABLE,
        Reason::Internal => INTERNAL_SERVER_ERROR,
    }
}

fn object(out: &mut String, problem: &Problem) {
    json::error(out, &problem.code, &problem.message);
}
