//! The one error of the extension, and the one place that chooses its SQLSTATE and, for clients of
//! the server, its reason.
//!
//! Messages are in Postgres' style: lower case, no full stop, a hint that lets the user go on.

use event_source_model::encoding::Damaged;
use event_source_model::event::{Reason, Refusal};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The library is not in `shared_preload_libraries`.
    NotLoaded,
    /// The table is not captured, or no longer.
    NotCaptured,
    /// The statement's snapshot is older than the capture.
    SnapshotTooOld,
    InvalidParameter,
    InvalidToken,
    InvalidCursor,
    StartBeforeToken,
    /// No, an unknown or an expired credential.
    Unauthorized,
    InsufficientPrivilege,
    /// The role of a good credential may not connect to the database.
    Forbidden,
    WrongObjectType,
    UndefinedObject,
    UndefinedColumn,
    FeatureNotSupported,
    /// The log no longer holds the position.
    PositionGone,
    /// The position is of another history.
    HistoryChanged,
    SourceGone,
    SchemaChanged,
    /// An expression of the source failed on a row.
    EvaluationFailed,
    /// Too much for one token or one statement.
    LimitExceeded,
    /// Its expressions took too much time or memory.
    TookTooMuch,
    /// Too much in one expression, however long one waits.
    TooComplex,
    /// Somebody holds a lock that was waited for too long.
    Contended,
    /// Cannot be done in this kind of transaction.
    WrongTransaction,
    /// Something that the log or the catalogs promise does not hold.
    Corrupted,
}

/// An error with everything that the user needs to go on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// For the server's clients: an encoded cursor, see [`Refusal::cursor`].
    pub cursor: Option<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: None, hint: None, cursor: None }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// One more way out, behind the hint that is there already.
    #[must_use]
    pub fn or_hint(mut self, other: String) -> Self {
        self.hint = Some(match self.hint {
            Some(hint) => format!("{hint}, {other}"),
            None => other,
        });
        self
    }

    /// Raises it as a PostgreSQL ERROR.
    pub fn raise(self) -> ! {
        ErrorReport::from(self).report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }
}

/// The value, or its error as a PostgreSQL ERROR: the last thing that a function in SQL does.
pub fn raised<T>(outcome: Result<T>) -> T {
    outcome.unwrap_or_else(|error| error.raise())
}

impl Kind {
    /// The SQLSTATE, as the guide lists them.
    fn sqlstate(self) -> PgSqlErrorCode {
        use PgSqlErrorCode as E;
        match self {
            Self::NotLoaded | Self::NotCaptured | Self::SnapshotTooOld => {
                E::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::InvalidParameter
            | Self::InvalidToken
            | Self::InvalidCursor
            | Self::StartBeforeToken => E::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Unauthorized => E::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            Self::InsufficientPrivilege | Self::Forbidden => E::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::WrongObjectType => E::ERRCODE_WRONG_OBJECT_TYPE,
            Self::UndefinedObject => E::ERRCODE_UNDEFINED_OBJECT,
            Self::UndefinedColumn => E::ERRCODE_UNDEFINED_COLUMN,
            Self::FeatureNotSupported => E::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::PositionGone | Self::HistoryChanged => E::ERRCODE_SNAPSHOT_TOO_OLD,
            Self::SourceGone | Self::SchemaChanged => E::ERRCODE_UNDEFINED_TABLE,
            Self::EvaluationFailed => E::ERRCODE_DATA_EXCEPTION,
            Self::LimitExceeded | Self::TookTooMuch | Self::TooComplex => {
                E::ERRCODE_PROGRAM_LIMIT_EXCEEDED
            }
            Self::Contended => E::ERRCODE_LOCK_NOT_AVAILABLE,
            Self::WrongTransaction => E::ERRCODE_ACTIVE_SQL_TRANSACTION,
            Self::Corrupted => E::ERRCODE_DATA_CORRUPTED,
        }
    }

    fn reason(self) -> Reason {
        match self {
            Self::NotLoaded | Self::Corrupted => Reason::Internal,
            Self::InvalidParameter
            | Self::WrongObjectType
            | Self::UndefinedObject
            | Self::UndefinedColumn
            | Self::FeatureNotSupported
            | Self::SnapshotTooOld
            | Self::TooComplex
            | Self::WrongTransaction => Reason::InvalidRequest,
            Self::InvalidToken => Reason::InvalidToken,
            Self::InvalidCursor => Reason::InvalidCursor,
            Self::StartBeforeToken => Reason::StartBeforeToken,
            Self::Unauthorized => Reason::Unauthorized,
            Self::InsufficientPrivilege => Reason::PermissionDenied,
            Self::Forbidden => Reason::Forbidden,
            Self::PositionGone => Reason::PositionGone,
            Self::HistoryChanged => Reason::HistoryChanged,
            Self::NotCaptured | Self::SourceGone => Reason::SourceGone,
            Self::SchemaChanged => Reason::SchemaChanged,
            Self::EvaluationFailed => Reason::EvaluationFailed,
            Self::LimitExceeded | Self::TookTooMuch => Reason::LimitExceeded,
            Self::Contended => Reason::Contended,
        }
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let mut report = Self::new(error.kind.sqlstate(), error.message, "event_source");
        if let Some(detail) = error.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = error.hint {
            report = report.set_hint(hint);
        }
        report
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        if error.kind == Kind::Corrupted {
            // Whatever PostgreSQL said of its inside was logged and is nobody's business outside.
            return Self::new(Reason::Internal, "the event source cannot be read")
                .hint("the log of the PostgreSQL server says why");
        }
        Self {
            reason: error.kind.reason(),
            message: error.message,
            hint: error.hint,
            cursor: error.cursor,
        }
    }
}

impl From<Damaged> for Error {
    fn from(damaged: Damaged) -> Self {
        Self::new(Kind::Corrupted, damaged.to_string())
    }
}

impl From<event_source_model::token::TokenError> for Error {
    fn from(error: event_source_model::token::TokenError) -> Self {
        use event_source_model::token::TokenError;
        match error {
            TokenError::Invalid => Self::new(Kind::InvalidToken, error.to_string())
                .hint("get a token from event_source(...) in this database"),
            TokenError::TooLong => Self::new(Kind::LimitExceeded, error.to_string())
                .hint("use a shorter filter, or fewer terms and fields"),
        }
    }
}
