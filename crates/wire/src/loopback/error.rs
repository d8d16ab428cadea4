//! The one place where LoopBack's wire chooses a status, a code and a text for what went wrong.

use event_source_model::event::{Reason, Refusal};
use event_source_model::query::{Failure, Fault};

use crate::json;

/// An error as LoopBack's clients read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub message: String,
    pub code: Option<&'static str>,
    pub hint: Option<String>,
}

impl Problem {
    /// A request that cannot be understood.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message.into(), None)
    }

    /// A path of no method, or of a model that is not there. `path` begins behind the root of the API.
    pub fn no_method(method: &str, path: &str) -> Self {
        Self::new(404, format!("There is no method to handle {method} {path}"), None)
    }

    /// No credential, or none that is good.
    pub fn unauthorized() -> Self {
        Self::new(401, "Authorization Required".to_owned(), Some("AUTHORIZATION_REQUIRED"))
    }

    /// The right is lacking. Who is not known is asked to say who it is.
    fn denied(is_known: bool) -> Self {
        if !is_known {
            return Self::unauthorized();
        }
        Self::new(403, "Access Denied".to_owned(), Some("ACCESS_DENIED"))
    }

    /// A refusal before the stream. `is_known` says whether there was a credential.
    pub fn refused(refusal: &Refusal, is_known: bool) -> Self {
        match refusal.reason {
            Reason::Unauthorized | Reason::InvalidToken => Self::unauthorized(),
            Reason::PermissionDenied | Reason::Forbidden => Self::denied(is_known),
            _ => Self::said(refusal),
        }
    }

    /// What is wrong with what was asked for.
    pub fn failed(failure: &Failure, is_known: bool) -> Self {
        let status = match failure.fault {
            Fault::PermissionDenied => return Self::denied(is_known),
            Fault::UnboundVariable => 404,
            Fault::TimeOut => 504,
            Fault::Contended => 503,
            Fault::InvalidQuery
            | Fault::InvalidReceiver
            | Fault::InvalidArgument
            | Fault::InvalidFunctionInvocation
            | Fault::Abort => 400,
        };
        Self { hint: failure.hint.clone(), ..Self::new(status, failure.message.clone(), None) }
    }

    fn said(refusal: &Refusal) -> Self {
        let (status, code) = choice(refusal.reason);
        Self { hint: refusal.hint.clone(), ..Self::new(status, refusal.message.clone(), code) }
    }

    fn new(status: u16, message: String, code: Option<&'static str>) -> Self {
        Self { status, message, code, hint: None }
    }

    /// The body of a response.
    pub fn body(&self) -> String {
        let mut out = String::from("{\"error\":{\"statusCode\":");
        json::plain(&mut out, self.status);
        out.push_str(",\"name\":\"Error\",\"message\":");
        json::string(&mut out, &self.message);
        self.rest(&mut out);
        out.push_str("}}");
        out
    }

    fn rest(&self, out: &mut String) {
        for (name, text) in [("code", self.code), ("hint", self.hint.as_deref())] {
            if let Some(text) = text {
                out.push(',');
                json::name(out, name);
                json::string(out, text);
            }
        }
    }
}

/// Appends the error that ends an open stream.
pub(super) fn in_band(out: &mut String, refusal: &Refusal) {
    let problem = Problem::said(refusal);
    out.push_str("{\"message\":");
    json::string(out, &problem.message);
    out.push_str(",\"statusCode\":");
    json::plain(out, problem.status);
    problem.rest(out);
    out.push('}');
}

fn choice(reason: Reason) -> (u16, Option<&'static str>) {
    match reason {
        Reason::InvalidRequest
        | Reason::InvalidCursor
        | Reason::StartBeforeToken
        | Reason::EvaluationFailed => (400, None),
        Reason::InvalidToken | Reason::Unauthorized => (401, Some("AUTHORIZATION_REQUIRED")),
        Reason::PermissionDenied | Reason::Forbidden => (403, Some("ACCESS_DENIED")),
        Reason::NotFound => (404, None),
        Reason::PositionGone => (410, Some("POSITION_GONE")),
        Reason::HistoryChanged => (410, Some("HISTORY_CHANGED")),
        Reason::SourceGone => (410, Some("SOURCE_GONE")),
        Reason::SchemaChanged => (410, Some("SCHEMA_CHANGED")),
        Reason::LimitExceeded => (429, Some("LIMIT_EXCEEDED")),
        Reason::TimedOut => (504, None),
        Reason::Contended | Reason::Unavailable => (503, None),
        Reason::Internal => (500, None),
    }
}
