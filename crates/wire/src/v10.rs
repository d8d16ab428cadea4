//! Fauna's v10 wire: events, statuses, errors and pages with tagged values.
//!
//! A renderer appends one JSON text without a line end. Official drivers refuse unknown fields, so
//! an event has exactly those that Fauna's had. A rewritten history is no event of this wire.

use event_source_model::event::{EventType, Page, Refusal, View};
use event_source_model::position::Position;

use crate::json::{self, plain};
use crate::shown::Shown;
use crate::v10_error::{Endpoint, event_code, event_message, http, message};
use crate::v10_value;

/// Appends an event.
pub fn event(out: &mut String, view: &View, shown: Shown<'_>) {
    plain(out, format_args!("{{\"type\":\"{}\",\"data\":", shown.kind.name()));
    let start = out.len();
    match shown.image() {
        Some(image) => v10_value::data(out, view, image, shown.position.txn_ts),
        None => out.push_str("null"),
    }
    let bytes = out.len() - start;
    place(out, view, shown.position);
    stats(out, 1, bytes);
    out.push('}');
}

/// Whether this wire has a word for the event.
pub fn is_shown(shown: Shown<'_>) -> bool {
    shown.kind != EventType::HistoryRewrite
}

/// Appends a status: where the reader is when nothing happens.
pub fn status(out: &mut String, view: &View, position: &Position) {
    out.push_str("{\"type\":\"status\"");
    place(out, view, position);
    stats(out, 0, 0);
    out.push('}');
}

/// Appends an error event, the last thing that a stream or a page says.
pub fn error(out: &mut String, refusal: &Refusal) {
    out.push_str("{\"type\":\"error\",\"error\":");
    json::error(out, event_code(refusal.reason), &event_message(refusal));
    stats(out, 0, 0);
    out.push('}');
}

/// A page.
pub fn page(page: &Page) -> String {
    let mut out = String::with_capacity(384 * (page.events.len() + 1));
    out.push_str("{\"events\":[");
    let mut shown = 0;
    for one in page.events.iter().map(Shown::from).filter(|one| is_shown(*one)) {
        if shown > 0 {
            out.push(',');
        }
        event(&mut out, &page.view, one);
        shown += 1;
    }
    if let Some(refusal) = &page.error {
        if shown > 0 {
            out.push(',');
        }
        error(&mut out, refusal);
    }
    let bytes = out.len();
    end_page(&mut out, &page.view.cursor(&page.position), page.has_next, shown, bytes);
    out
}

/// A page that says nothing but an error; its cursor is the request's own.
pub fn error_page(refusal: &Refusal, cursor: &str) -> String {
    let mut out = "{\"events\":[".to_owned();
    error(&mut out, refusal);
    end_page(&mut out, cursor, false, 0, 0);
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
    plain(out, format_args!(",\"txn_ts\":{},\"cursor\":", position.txn_ts));
    json::string(out, &view.cursor(position));
}

fn end_page(out: &mut String, cursor: &str, has_next: bool, events: usize, bytes: usize) {
    out.push_str("],\"cursor\":");
    json::string(out, cursor);
    plain(out, format_args!(",\"has_next\":{has_next}"));
    stats(out, events, bytes);
    out.push('}');
}

/// What the reader cost, in Fauna's units: a row read for each event, and the bytes of its data.
fn stats(out: &mut String, reads: usize, bytes: usize) {
    plain(
        out,
        format_args!(
            ",\"stats\":{{\"read_ops\":{reads},\"storage_bytes_read\":{bytes},\"compute_ops\":1,\
             \"processing_time_ms\":0,\"rate_limits_hit\":[]}}"
        ),
    );
}
