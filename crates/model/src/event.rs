//! A net change seen through a source, and why a reader was refused.

use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::events::Events;
use crate::image::{Image, Key};
use crate::position::{self, Position};
use crate::source::Projection;

/// What a change meant for the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    Add,
    Update,
    Remove,
    /// The row's past was erased from the log: what a reader kept of it should go as well.
    HistoryRewrite,
}

impl EventType {
    /// The word that every wire uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Remove => "remove",
            Self::HistoryRewrite => "history_rewrite",
        }
    }

    /// The event rule: membership before and after decides.
    pub fn of(before: bool, after: bool) -> Option<Self> {
        match (before, after) {
            (false, true) => Some(Self::Add),
            (true, true) => Some(Self::Update),
            (true, false) => Some(Self::Remove),
            (false, false) => None,
        }
    }
}

/// A net change seen through a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub kind: EventType,
    /// Exclusive: a reader that resumes here does not see the event again.
    pub position: Position,
    pub key: Option<Key>,
    pub before: Option<Image>,
    pub after: Option<Image>,
}

impl Event {
    /// The image in `data`: the new one, and on remove the last one.
    ///
    /// `None` for a rewritten history, which says nothing but the key.
    pub fn image(&self) -> Option<&Image> {
        match self.kind {
            EventType::Remove => self.before.as_ref().or(self.after.as_ref()),
            EventType::Add | EventType::Update => self.after.as_ref(),
            EventType::HistoryRewrite => None,
        }
    }
}

/// How a source's events are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// What the protocols call the collection.
    pub collection: String,
    /// The columns shown in `data`, by number; `None` for all.
    pub fields: Option<Vec<i16>>,
    /// How `data` is made of them.
    pub projection: Option<Projection>,
    /// The history of every cursor given out.
    pub history: u64,
}

impl View {
    pub fn cursor(&self, position: &Position) -> String {
        let mut out = String::new();
        self.write_cursor(&mut out, position);
        out
    }

    /// Appends the cursor of a position.
    pub fn write_cursor(&self, out: &mut String, position: &Position) {
        position::write_cursor(out, self.history, position);
    }
}

/// A page has no more events than this.
pub const LARGEST_PAGE: u32 = 16_000;

/// A page of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub view: View,
    pub events: Events,
    /// Where the next page starts; it moves on even when `events` is empty.
    pub position: Position,
    pub has_next: bool,
    /// With `events` the reader has all rows that there were when it began.
    pub ends_snapshot: bool,
    /// It ended for the work or the time that it took rather than for being full: the next one may
    /// fill it up.
    pub is_cut: bool,
    /// Why the page ends here for good, after `events`.
    pub error: Option<Refusal>,
    /// What reading took, without the bytes of what is in `events`: whoever decodes those counts them.
    pub cost: Cost,
}

/// Why a reader gets nothing, or nothing more. Each wire chooses its own code and status for a
/// reason, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    InvalidRequest,
    /// The token is malformed, forged, revoked, or of another database.
    InvalidToken,
    InvalidCursor,
    /// A stream was asked to start before its token's own start.
    StartBeforeToken,
    /// No, an unknown or an expired credential, or an expired token.
    Unauthorized,
    /// The role lost, or never had, its rights.
    PermissionDenied,
    NotFound,
    /// The log no longer holds the position; the refusal's cursor is the oldest one left.
    PositionGone,
    /// The position was never part of this history; the refusal's cursor is the switch point.
    HistoryChanged,
    /// The collection was released or dropped, or its index is gone.
    SourceGone,
    /// The table was changed in a way that the source cannot follow.
    SchemaChanged,
    /// An expression of the source failed on a row.
    EvaluationFailed,
    /// The credential is good and its role may not come in.
    Forbidden,
    /// The time that the client gave was over.
    TimedOut,
    /// Somebody else's transaction is in the way; come back later.
    Contended,
    /// Over a limit; come back later.
    LimitExceeded,
    /// The server is starting, stopping or cut off from its worker; come back later.
    Unavailable,
    Internal,
}

impl Reason {
    /// Whether the right to read is gone: nothing that waits to be written may still be handed out.
    pub fn is_loss_of_rights(self) -> bool {
        matches!(self, Self::Unauthorized | Self::InvalidToken | Self::PermissionDenied)
    }
}

/// A refusal, ready to be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
    pub hint: Option<String>,
    /// Encoded; see [`Reason::PositionGone`] and [`Reason::HistoryChanged`].
    pub cursor: Option<String>,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), hint: None, cursor: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
