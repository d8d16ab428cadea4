//! What is sent over the socket: one JSON object a frame, its keys in the order in which Directus has them.
//!
//! The SDK finds the reader of a message by comparing its `uid` with `===`, and Directus makes that of a
//! subscription a string whatever the client sent; elsewhere it is echoed as it came.

use crate::json;

/// What a client calls its request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Uid {
    Text(String),
    /// The digits of a number.
    Number(String),
}

impl Uid {
    /// As Directus tells one subscription from another: 5 and "5" are the same.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }
}

/// What happened to items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Create,
    Update,
    Delete,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The answer to `subscribe`; `data` is JSON, and there when no single event was asked for.
pub fn init(data: Option<&str>, uid: Option<&str>) -> String {
    subscription("init", data, uid)
}

/// Items that were created, updated or deleted.
pub fn event(kind: Kind, data: &str, uid: Option<&str>) -> String {
    subscription(kind.name(), Some(data), uid)
}

/// The answer to `unsubscribe`.
pub fn unsubscribed(uid: Option<&Uid>) -> String {
    let mut out = "{\"type\":\"subscription\",\"event\":\"unsubscribe\"".to_owned();
    finish(&mut out, uid);
    out
}

/// The answer to an `auth` that is good.
pub fn authenticated(uid: Option<&Uid>) -> String {
    let mut out = "{\"type\":\"auth\",\"status\":\"ok\"".to_owned();
    finish(&mut out, uid);
    out
}

/// Asks whether the client is still there.
pub fn ping() -> String {
    "{\"type\":\"ping\"}".to_owned()
}

/// The answer to `ping`.
pub fn pong(uid: Option<&Uid>) -> String {
    let mut out = "{\"type\":\"pong\"".to_owned();
    finish(&mut out, uid);
    out
}

fn subscription(event: &str, data: Option<&str>, uid: Option<&str>) -> String {
    let mut out = String::with_capacity(data.map_or(0, str::len) + 96);
    out.push_str("{\"type\":\"subscription\",\"event\":\"");
    out.push_str(event);
    out.push('"');
    if let Some(data) = data {
        out.push_str(",\"data\":");
        out.push_str(data);
    }
    if let Some(uid) = uid {
        out.push_str(",\"uid\":");
        json::string(&mut out, uid);
    }
    out.push('}');
    out
}

/// The uid as the client sent it, and the end of the object.
pub(super) fn finish(out: &mut String, uid: Option<&Uid>) {
    match uid {
        None => {}
        Some(Uid::Text(text)) => {
            out.push_str(",\"uid\":");
            json::string(out, text);
        }
        Some(Uid::Number(digits)) => {
            out.push_str(",\"uid\":");
            out.push_str(digits);
        }
    }
    out.push('}');
}
