//! Events: what happened to a document, or to a set of them.
//!
//! Each is a line of its own. An update of what an index covers is two, as Fauna had it: the old values
//! left the set, the new ones came.
//!
//! Of what a document was before, it is not known when it became so, only until when it was: `ts` of `prev`,
//! and of a document that was deleted, is the microsecond before the change.

use event_source_model::event::{EventType, Refusal, View};
use event_source_model::image::{Image, Key};

use super::error::event_error;
use super::frame::line;
use super::value::{data, document_ref, native_ref, value};
use super::{diff, frame};
use crate::json::{self, plain};
use crate::shown::{Shown, fields};

/// Which fields an event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fields {
    pub action: bool,
    pub document: bool,
    pub diff: bool,
    pub prev: bool,
    pub index: bool,
}

impl Fields {
    pub const NONE: Self =
        Self { action: false, document: false, diff: false, prev: false, index: false };
    /// What a client gets that asks for none.
    pub const DEFAULT: Self = Self { action: true, document: true, ..Self::NONE };
}

/// What is followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    /// One document: its versions.
    Document,
    /// The documents of a collection: which come and which go.
    Documents,
    /// The same of an index. The terms are an array of JSON, as the request had them.
    Index { name: String, terms: String },
}

/// Appends the event that opens every stream: what follows was committed after it.
pub fn start(out: &mut String, txn: i64) {
    line(out, &format!("{{\"type\":\"start\",\"txn\":{txn},\"event\":{txn}}}"));
}

/// Appends what a change is to a reader, which may be nothing.
pub fn event(out: &mut String, view: &View, shown: Shown<'_>, of: &Of, wanted: Fields) {
    match (shown.kind, of) {
        // Whoever keeps what it was told of a row should look again, of a set as well.
        (EventType::HistoryRewrite, _) => history_rewrite(out, view, shown, wanted),
        (kind, Of::Document) => version(out, view, shown, kind, wanted),
        (EventType::Update, Of::Documents) => {}
        (EventType::Update, Of::Index { .. }) => {
            set(out, view, shown, "remove", shown.before, of, wanted);
            set(out, view, shown, "add", shown.after, of, wanted);
        }
        (EventType::Add, _) => set(out, view, shown, "add", shown.after, of, wanted),
        (EventType::Remove, _) => set(out, view, shown, "remove", shown.before, of, wanted),
    }
}

/// Appends the error that ends a stream.
pub fn error(out: &mut String, refusal: &Refusal) {
    let (code, description) = event_error(refusal);
    let mut event = "{\"type\":\"error\",\"txn\":0,\"event\":{\"code\":".to_owned();
    json::string(&mut event, code);
    event.push_str(",\"description\":");
    json::string(&mut event, &description);
    event.push_str("}}");
    line(out, &event);
}

/// A text as a body: pure ASCII, as every answer is.
pub(super) fn body(json: &str) -> String {
    let mut out = String::new();
    frame::ascii(&mut out, json);
    out
}

fn version(out: &mut String, view: &View, shown: Shown<'_>, kind: EventType, wanted: Fields) {
    let txn = shown.position.txn_ts;
    let (action, ts) = match kind {
        EventType::Add => ("create", txn),
        EventType::Remove => ("delete", txn - 1),
        EventType::Update | EventType::HistoryRewrite => ("update", txn),
    };
    let mut event = Event::begin("version", txn);
    event.action(action, wanted);
    if wanted.document
        && let Some(image) = shown.image()
    {
        document(event.field("document"), view, shown.key, image, ts);
    }
    if wanted.diff {
        let out = event.field("diff");
        identity(out, view, shown.key, txn);
        match (kind, shown.before, shown.after) {
            (EventType::Add, _, Some(after)) => {
                out.push_str(",\"data\":");
                data(out, view, after);
            }
            (EventType::Update, Some(before), Some(after)) => diff::data(out, view, before, after),
            _ => {}
        }
        out.push('}');
    }
    if wanted.prev {
        let out = event.field("prev");
        match shown.previous() {
            Some(before) => document(out, view, shown.key, before, txn - 1),
            None => {
                identity(out, view, shown.key, txn);
                out.push('}');
            }
        }
    }
    event.end(out);
}

fn set(
    out: &mut String,
    view: &View,
    shown: Shown<'_>,
    action: &str,
    image: Option<&Image>,
    of: &Of,
    wanted: Fields,
) {
    let txn = shown.position.txn_ts;
    let mut event = Event::begin("set", txn);
    event.action(action, wanted);
    if wanted.document {
        let out = event.field("document");
        identity(out, view, shown.key, txn);
        out.push('}');
    }
    if wanted.index {
        let out = event.field("index");
        match of {
            Of::Index { name, terms } => {
                out.push_str("{\"ref\":");
                native_ref(out, name, "indexes");
                plain(out, format_args!(",\"terms\":{terms},\"values\":["));
                let values = image.into_iter().flat_map(|image| fields(view, image));
                for (at, field) in values.enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value(out, field.value);
                }
                out.push_str("]}");
            }
            Of::Document | Of::Documents => {
                out.push_str("{\"terms\":[");
                native_ref(out, &view.collection, "collections");
                out.push_str("],\"values\":[]}");
            }
        }
    }
    event.end(out);
}

/// What was erased is not told, nor what is left: whoever wants that asks for it.
fn history_rewrite(out: &mut String, view: &View, shown: Shown<'_>, wanted: Fields) {
    let txn = shown.position.txn_ts;
    let mut event = Event::begin("history_rewrite", txn);
    event.action("update", wanted);
    if wanted.document {
        let out = event.field("document");
        identity(out, view, shown.key, txn);
        out.push('}');
    }
    event.end(out);
}

/// Appends a document as it was at a time.
pub(super) fn document(out: &mut String, view: &View, key: Option<&Key>, image: &Image, ts: i64) {
    identity(out, view, key, ts);
    out.push_str(",\"data\":");
    data(out, view, image);
    out.push('}');
}

/// Appends an object that says which document it is, and leaves it open.
fn identity(out: &mut String, view: &View, key: Option<&Key>, ts: i64) {
    out.push_str("{\"ref\":");
    document_ref(out, &view.collection, key);
    plain(out, format_args!(",\"ts\":{ts}"));
}

/// An event that is being written.
struct Event {
    text: String,
    is_empty: bool,
}

impl Event {
    fn begin(kind: &str, txn: i64) -> Self {
        let text = format!("{{\"type\":\"{kind}\",\"txn\":{txn},\"event\":{{");
        Self { text, is_empty: true }
    }

    fn field(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.is_empty) {
            self.text.push(',');
        }
        json::name(&mut self.text, name);
        &mut self.text
    }

    fn action(&mut self, action: &str, wanted: Fields) {
        if wanted.action {
            json::string(self.field("action"), action);
        }
    }

    fn end(mut self, out: &mut String) {
        self.text.push_str("}}");
        line(out, &self.text);
    }
}
