//! A change as LoopBack's clients know it: `{target, where, data, type}`.

use event_source_model::event::{EventType, Refusal, View};
use event_source_model::position::Position;

use super::{error, value};
use crate::json;
use crate::shown::Shown;

/// What a reader asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub output: Output,
    /// Rows that come into the filter are created and those that leave it are removed. LoopBack itself
    /// calls the one an update and says nothing of the other.
    pub exact: bool,
}

/// How changes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// `text/event-stream`.
    Events,
    /// `application/json; boundary=NL`: rows of the multiplexer that LoopBack's own client reads.
    Lines,
}

/// The name by which the multiplexer's rows call the one stream that is in them.
const CHANNEL: &str = "changes";

/// Appends a change, or nothing: LoopBack has no word for a row that leaves the filter, nor for a
/// rewritten history.
pub fn event(out: &mut String, view: &View, shown: Shown<'_>, options: Options) {
    let Some(kind) = kind(&shown, options.exact) else { return };
    match options.output {
        Output::Events => {
            id(out, view, shown.position);
            out.push_str("event: data\ndata: ");
            change(out, view, shown, kind);
            out.push_str("\n\n");
        }
        Output::Lines => row(out, "data", |out| change(out, view, shown, kind)),
    }
}

/// Appends the first thing of a stream. The position goes after the comment: it alone is no event, and a
/// browser that is cut before the first one still says where it was.
pub fn started(out: &mut String, view: &View, position: &Position, options: Options) {
    match options.output {
        Output::Events => {
            out.push_str(":ok\n\n");
            id(out, view, position);
            out.push('\n');
        }
        Output::Lines => {
            row(out, "new", |out| {
                out.push_str("{\"opts\":{\"writable\":false,\"readable\":true}}");
            });
        }
    }
}

/// Appends what keeps a quiet stream open: a comment and the position, or an empty line.
pub fn status(out: &mut String, view: &View, position: &Position, options: Options) {
    if options.output == Output::Events {
        out.push_str(":\n");
        id(out, view, position);
    }
    out.push('\n');
}

/// Appends an error, the last thing said.
pub fn failed(out: &mut String, refusal: &Refusal, options: Options) {
    match options.output {
        Output::Events => {
            out.push_str("event: error\ndata: ");
            error::in_band(out, refusal);
            out.push_str("\n\n");
        }
        Output::Lines => row(out, "error", |out| error::in_band(out, refusal)),
    }
}

/// What the change was to the reader; `None` when it is not told.
fn kind(shown: &Shown<'_>, exact: bool) -> Option<&'static str> {
    match shown.kind {
        EventType::Add if shown.before.is_some() && !exact => Some("update"),
        EventType::Add => Some("create"),
        EventType::Update => Some("update"),
        EventType::Remove if shown.after.is_some() && !exact => None,
        EventType::Remove => Some("remove"),
        EventType::HistoryRewrite => None,
    }
}

/// Keys in the order in which LoopBack writes them.
fn change(out: &mut String, view: &View, shown: Shown<'_>, kind: &str) {
    out.push('{');
    if let Some(key) = shown.key {
        out.push_str("\"target\":");
        value::key(out, key);
        out.push(',');
    }
    if let Some(image) = shown.image() {
        if let (EventType::Remove, [only]) = (shown.kind, image.shape.key.as_slice()) {
            let at = usize::from(*only);
            out.push_str("\"where\":{");
            json::name(out, &image.shape.columns[at].name);
            value::value(out, &image.values[at]);
            out.push_str("},");
        }
        out.push_str("\"data\":");
        value::data(out, view, image);
        out.push(',');
    }
    out.push_str("\"type\":\"");
    out.push_str(kind);
    out.push_str("\"}");
}

fn id(out: &mut String, view: &View, position: &Position) {
    out.push_str("id: ");
    out.push_str(&view.cursor(position));
    out.push('\n');
}

fn row(out: &mut String, word: &str, write: impl FnOnce(&mut String)) {
    out.push_str("[\"");
    out.push_str(CHANNEL);
    out.push_str("\",\"");
    out.push_str(word);
    out.push_str("\",");
    write(out);
    out.push_str("]\n");
}
