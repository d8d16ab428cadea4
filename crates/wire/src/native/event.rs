//! The native wire: events, statuses, errors and pages as plain JSON, each on one line.
//!
//! A renderer appends one JSON text without a line end; how lines are framed is the transport's.

use event_source_model::encoding::Damaged;
use event_source_model::event::{Event, EventType, Page, Refusal, View};
use event_source_model::events::Sides;
use event_source_model::image::{Image, Key};
use event_source_model::position::Position;

use crate::json::{self, plain};
use crate::plain as values;
use crate::plain::Numbers;
use crate::shown::Shown;

/// What a reader asked to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// The row before the change.
    pub prev: bool,
    /// The columns that an update changed.
    pub diff: bool,
    pub numbers: Numbers,
}

impl Options {
    /// The images that are looked at.
    pub fn sides(self) -> Sides {
        if self.prev || self.diff { Sides::Both } else { Sides::Shown }
    }
}

/// Appends an event. A rewritten history has a key and nothing else.
pub fn event(out: &mut String, view: &View, shown: Shown<'_>, options: Options) {
    head(out, shown.kind.name(), view, shown.position);
    out.push_str(",\"key\":");
    values::key(out, shown.key, options.numbers);
    if shown.kind == EventType::HistoryRewrite {
        out.push('}');
        return;
    }
    out.push_str(",\"data\":");
    values::data(out, view, shown.image(), options.numbers);
    if options.prev {
        out.push_str(",\"prev\":");
        values::data(out, view, shown.previous(), options.numbers);
    }
    if options.diff {
        out.push_str(",\"diff\":");
        match (shown.kind, shown.before, shown.after) {
            (EventType::Update, Some(before), Some(after)) => {
                values::diff(out, view, before, after, options.numbers);
            }
            _ => out.push_str("null"),
        }
    }
    out.push('}');
}

/// Appends a status: where the reader is when nothing happens.
pub fn status(out: &mut String, view: &View, position: &Position) {
    head(out, "status", view, position);
    out.push('}');
}

/// Appends the status behind the rows of a snapshot: what follows is what happened since they began.
pub fn snapshot_complete(out: &mut String, view: &View, position: &Position) {
    head(out, "status", view, position);
    out.push_str(",\"snapshot\":\"complete\"}");
}

/// Appends an error, in a stream the last thing said, or the body of a response.
pub fn error(out: &mut String, refusal: &Refusal) {
    coded_error(out, super::error::code(refusal.reason), refusal);
}

/// [`error`] with a code that no reason has, such as `method_not_allowed`.
pub fn coded_error(out: &mut String, code: &str, refusal: &Refusal) {
    out.push_str("{\"type\":\"error\",\"error\":{\"code\":");
    json::string(out, code);
    out.push_str(",\"message\":");
    json::string(out, &refusal.message);
    for (name, text) in [("hint", &refusal.hint), ("cursor", &refusal.cursor)] {
        if let Some(text) = text {
            out.push(',');
            json::name(out, name);
            json::string(out, text);
        }
    }
    out.push_str("}}");
}

/// A page, byte for byte what `event_page` returns.
///
/// # Errors
/// When the log is damaged.
pub fn page(page: &Page, options: Options) -> Result<String, Damaged> {
    let mut pages = PageWriter::new(options);
    pages.part(page)?;
    Ok(pages.end(page))
}

/// A page while its parts come.
#[derive(Debug)]
pub struct PageWriter {
    options: Options,
    out: String,
    is_empty: bool,
}

impl PageWriter {
    pub fn new(options: Options) -> Self {
        let out = "{\"events\":[".to_owned();
        Self { options, out, is_empty: true }
    }

    /// The events of the next part.
    ///
    /// # Errors
    /// When the log is damaged.
    pub fn part(&mut self, part: &Page) -> Result<(), Damaged> {
        let Self { options, out, is_empty } = self;
        out.reserve(256 * part.events.len() + 128);
        for one in part.events.iter(options.sides()) {
            if !std::mem::take(is_empty) {
                out.push(',');
            }
            event(out, &part.view, Shown::from(&one?), *options);
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The whole page, of which `last` was the last part.
    pub fn end(mut self, last: &Page) -> String {
        let out = &mut self.out;
        if last.ends_snapshot {
            if !std::mem::take(&mut self.is_empty) {
                out.push(',');
            }
            snapshot_complete(out, &last.view, &last.position);
        }
        if let Some(refusal) = &last.error {
            if !self.is_empty {
                out.push(',');
            }
            error(out, refusal);
        }
        out.push_str("],\"cursor\":");
        cursor(out, &last.view, &last.position);
        plain(out, format_args!(",\"has_next\":{}}}", last.has_next));
        self.out
    }
}

/// A row as an object.
pub fn data_json(view: &View, image: &Image, numbers: Numbers) -> String {
    written(|out| values::data(out, view, Some(image), numbers))
}

/// A key: a single column's value, or an array of several.
pub fn key_json(key: &Key) -> String {
    written(|out| values::key(out, Some(key), Numbers::Digits))
}

/// The new values of the columns that an update changed; `None` for other events.
pub fn diff_json(view: &View, event: &Event, numbers: Numbers) -> Option<String> {
    match (event.kind, &event.before, &event.after) {
        (EventType::Update, Some(before), Some(after)) => {
            Some(written(|out| values::diff(out, view, before, after, numbers)))
        }
        _ => None,
    }
}

/// The row before the change, when it was in the set.
pub fn prev_json(view: &View, event: &Event, numbers: Numbers) -> Option<String> {
    let image = Shown::from(event).previous()?;
    Some(data_json(view, image, numbers))
}

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

fn head(out: &mut String, kind: &str, view: &View, position: &Position) {
    out.push_str("{\"type\":\"");
    out.push_str(kind);
    out.push_str("\",\"txn_ts\":");
    json::integer(out, position.txn_ts);
    out.push_str(",\"cursor\":");
    cursor(out, view, position);
}

fn cursor(out: &mut String, view: &View, position: &Position) {
    // Of letters that JSON has nothing against.
    out.push('"');
    view.write_cursor(out, position);
    out.push('"');
}
