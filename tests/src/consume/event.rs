//! What every client yields, whichever wire it came over.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Add,
    Update,
    Remove,
    HistoryRewrite,
    Status,
    Error,
}

impl Kind {
    /// Whether a row changed.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Add | Self::Update | Self::Remove)
    }
}

/// An event as the native wire spells it; the other clients translate into it.
///
/// Unknown fields are refused: whatever a client might trip over has to be in the contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub txn_ts: Option<i64>,
    pub cursor: Option<String>,
    pub key: Option<Value>,
    pub data: Option<Value>,
    pub prev: Option<Value>,
    pub diff: Option<Value>,
    /// `complete` behind the rows of a snapshot.
    pub snapshot: Option<String>,
    pub error: Option<WireError>,
}

/// The `error` of an error event or of a refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub cursor: Option<String>,
}

/// A page of a feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    pub events: Vec<Event>,
    pub cursor: String,
    pub has_next: bool,
}
