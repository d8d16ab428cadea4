//! Fauna's v10 wire: events, statuses, errors and pages with tagged values.
//!
//! A renderer appends one JSON text without a line end. Official drivers refuse unknown fields, so
//! an event has exactly those that Fauna's had. A rewritten history is no event of this wire.
//!
//! # What `stats` says
//!
//! | figure | of an event | of a page | of a status |
//! |---|---|---|---|
//! | `read_ops` | 1: its change | changes evaluated, those that a filter kept back among them | the same, kept back since the last status |
//! | `storage_bytes_read` | of the row, before and after | of all their rows | of theirs |
//! | `processing_time_ms` | the change's share of the time | reading took | their share of the time |
//!
//! What the worker reads once for all streams is said to each of them. What a server still remembers
//! costs no reading. `compute_ops` is always 1 and `rate_limits_hit` always empty: neither is counted.

use event_source_model::cost::Cost;
use event_source_model::encoding::Damaged;
use event_source_model::event::{EventType, Page, Reason, Refusal, View};
use event_source_model::events::Sides;
use event_source_model::position::Position;

use super::error::{Endpoint, event_code, event_message, http, message};
use super::value;
use crate::json::{self, plain};
use crate::shown::Shown;

/// Appends an event; `micros` is its change's share of the time.
pub fn event(out: &mut String, view: &View, shown: Shown<'_>, micros: u64) {
    out.push_str("{\"type\":\"");
    out.push_str(shown.kind.name());
    out.push_str("\",\"data\":");
    match shown.image() {
        Some(image) => value::data(out, view, image, shown.position.txn_ts),
        None => out.push_str("null"),
    }
    place(out, view, shown.position);
    stats(out, Cost { micros, ..Cost::of(shown.before.into_iter().chain(shown.after)) });
    out.push('}');
}

/// Whether this wire has a word for the event.
pub fn is_shown(shown: Shown<'_>) -> bool {
    shown.kind != EventType::HistoryRewrite
}

/// Appends a status: where the reader is when nothing happens, and what that took.
pub fn status(out: &mut String, view: &View, position: &Position, cost: Cost) {
    out.push_str("{\"type\":\"status\"");
    place(out, view, position);
    stats(out, cost);
    out.push('}');
}

/// Appends an error event, the last thing that a stream or a page says.
pub fn error(out: &mut String, refusal: &Refusal) {
    out.push_str("{\"type\":\"error\",\"error\":");
    json::error(out, event_code(refusal.reason), &event_message(refusal));
    stats(out, Cost::default());
    out.push('}');
}

/// A page.
///
/// # Errors
/// When the log is damaged.
pub fn page(page: &Page) -> Result<String, Damaged> {
    let mut pages = PageWriter::new();
    pages.part(page)?;
    Ok(pages.end(page))
}

/// A page while its parts come.
#[derive(Debug)]
pub struct PageWriter {
    out: String,
    is_empty: bool,
    cost: Cost,
}

impl PageWriter {
    pub fn new() -> Self {
        let out = "{\"events\":[".to_owned();
        Self { out, is_empty: true, cost: Cost::default() }
    }

    /// The events of the next part.
    ///
    /// # Errors
    /// When the log is damaged.
    pub fn part(&mut self, part: &Page) -> Result<(), Damaged> {
        let Self { out, is_empty, cost } = self;
        out.reserve(384 * part.events.len() + 128);
        let micros = part.cost.micros_each();
        for one in part.events.iter(Sides::Both) {
            let one = one?;
            cost.bytes += Cost::of_event(&one).bytes;
            let shown = Shown::from(&one);
            if !is_shown(shown) {
                continue;
            }
            if !std::mem::take(is_empty) {
                out.push(',');
            }
            event(out, &part.view, shown, micros);
        }
        *cost += part.cost;
        Ok(())
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The whole page, of which `last` was the last part.
    pub fn end(mut self, last: &Page) -> String {
        let out = &mut self.out;
        if let Some(refusal) = &last.error {
            if !self.is_empty {
                out.push(',');
            }
            error(out, refusal);
        }
        // The next page begins behind a change that cannot be evaluated, and there may be more.
        let is_skipped =
            last.error.as_ref().is_some_and(|refusal| refusal.reason == Reason::EvaluationFailed);
        let has_next = last.has_next || is_skipped;
        end_page(out, &last.view.cursor(&last.position), has_next, self.cost);
        self.out
    }
}

impl Default for PageWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// A page that says nothing but an error; its cursor is the request's own.
pub fn error_page(refusal: &Refusal, cursor: &str) -> String {
    let mut out = "{\"events\":[".to_owned();
    error(&mut out, refusal);
    end_page(&mut out, cursor, false, Cost::default());
    out
}

/// The body of a response that is an error, with its HTTP status. `"type":"error"` stands in it
/// for streams: the Python driver looks at nothing else there.
pub fn http_error(refusal: &Refusal, endpoint: Endpoint) -> (u16, String) {
    let (status, code) = http(refusal.reason);
    let mut out = match endpoint {
        Endpoint::Stream => "{\"type\":\"error\",\"error\":".to_owned(),
        Endpoint::Feed => "{\"error\":".to_owned(),
    };
    json::error(&mut out, code, &message(refusal, endpoint));
    out.push('}');
    (status, out)
}

fn place(out: &mut String, view: &View, position: &Position) {
    out.push_str(",\"txn_ts\":");
    json::integer(out, position.txn_ts);
    // Of letters that JSON has nothing against.
    out.push_str(",\"cursor\":\"");
    view.write_cursor(out, position);
    out.push('"');
}

fn end_page(out: &mut String, cursor: &str, has_next: bool, cost: Cost) {
    out.push_str("],\"cursor\":");
    json::string(out, cursor);
    plain(out, format_args!(",\"has_next\":{has_next}"));
    stats(out, cost);
    out.push('}');
}

fn stats(out: &mut String, cost: Cost) {
    let Cost { changes, bytes, micros } = cost;
    let millis = micros / 1000;
    out.push_str(",\"stats\":{\"read_ops\":");
    json::integer(out, changes);
    out.push_str(",\"storage_bytes_read\":");
    json::integer(out, bytes);
    out.push_str(",\"compute_ops\":1,\"processing_time_ms\":");
    json::integer(out, millis);
    out.push_str(",\"rate_limits_hit\":[]}");
}
