//! `event_feed` and `event_page` in SQL.
//!
//! Their `json` is passed as text: the two have the same form, and the renderer's text is valid.

use event_source_door::message::StartAt;
use event_source_model::event::Page;
use event_source_model::time::EPOCH_MICROS;
use event_source_wire::native::{self, Numbers, Options};
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use super::request;
use crate::error::{Error, Kind, Result, raised};
use crate::source;

/// One row of `event_feed`: type, txn_ts, cursor, key, data, prev, diff.
type Row = (
    String,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// Rows of events, then one `status` row with the page's cursor. An event that could not be
/// evaluated is an `error` row before it; the cursor is behind that event.
#[pg_extern(sql = false)]
#[expect(clippy::type_complexity, reason = "pg_extern reads the columns from the type")]
fn event_feed(
    token: Option<&str>,
    cursor: Option<&str>,
    start_ts: Option<TimestampWithTimeZone>,
    page_size: Option<i32>,
    include: Option<Vec<Option<String>>>,
) -> TableIterator<
    'static,
    (
        name!(r#type, String),
        name!(txn_ts, Option<i64>),
        name!(cursor, Option<String>),
        name!(key, Option<String>),
        name!(data, Option<String>),
        name!(prev, Option<String>),
        name!(diff, Option<String>),
    ),
> {
    let options = raised(options(include));
    let page = raised(page(token, cursor, start_ts, page_size));
    TableIterator::new(raised(rows(&page, options)))
}

/// The page as HTTP sends it, byte for byte.
#[pg_extern(sql = false)]
fn event_page(
    token: Option<&str>,
    cursor: Option<&str>,
    start_ts: Option<TimestampWithTimeZone>,
    page_size: Option<i32>,
    include: Option<Vec<Option<String>>>,
) -> String {
    let options = raised(options(include));
    let page = raised(page(token, cursor, start_ts, page_size));
    raised(native::page(&page, options).map_err(Error::from))
}

fn rows(page: &Page, options: Options) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(page.events.len() + 1);
    for event in page.events.iter(options.sides()) {
        let event = &event?;
        let data = event.image().map(|i| native::data_json(&page.view, i, Numbers::Digits));
        let prev = options.prev.then(|| native::prev_json(&page.view, event, Numbers::Digits));
        let diff = options.diff.then(|| native::diff_json(&page.view, event, Numbers::Digits));
        rows.push((
            event.kind.name().to_owned(),
            Some(event.position.txn_ts),
            Some(page.view.cursor(&event.position)),
            event.key.as_ref().map(native::key_json),
            data,
            prev.flatten(),
            diff.flatten(),
        ));
    }
    if let Some(refusal) = &page.error {
        let mut error = String::new();
        native::error(&mut error, refusal);
        rows.push(("error".to_owned(), None, None, None, Some(error), None, None));
    }
    let (txn_ts, cursor) = (Some(page.position.txn_ts), Some(page.view.cursor(&page.position)));
    rows.push(("status".to_owned(), txn_ts, cursor, None, None, None, None));
    Ok(rows)
}

fn page(
    token: Option<&str>,
    cursor: Option<&str>,
    start_ts: Option<TimestampWithTimeZone>,
    page_size: Option<i32>,
) -> Result<Page> {
    let token = token.ok_or_else(|| {
        Error::new(Kind::InvalidParameter, "the token is null")
            .hint("get a token from event_source(...)")
    })?;
    let source = source::open_in_sql(token)?;
    let start = match (cursor.filter(|c| !c.is_empty()), start_ts) {
        (Some(_), Some(_)) => {
            return Err(Error::new(
                Kind::InvalidParameter,
                "can not provide both start_ts and cursor",
            ));
        }
        (Some(cursor), None) => StartAt::Cursor(cursor.to_owned()),
        (None, Some(at)) => StartAt::Timestamp(i64::from(at).saturating_add(EPOCH_MICROS)),
        (None, None) => StartAt::Token,
    };
    let page_size = match page_size {
        None => request::DEFAULT_PAGE_SIZE,
        // A negative size is as wrong as none.
        Some(size) => u32::try_from(size).unwrap_or(0),
    };
    request::page(&source, &start, page_size)
}

fn options(include: Option<Vec<Option<String>>>) -> Result<Options> {
    let mut options = Options::default();
    for word in include.into_iter().flatten().flatten() {
        match word.as_str() {
            "prev" => options.prev = true,
            "diff" => options.diff = true,
            _ => {
                let message = format!("unknown value \"{word}\" in include");
                return Err(Error::new(Kind::InvalidParameter, message)
                    .hint("include may hold prev and diff"));
            }
        }
    }
    Ok(options)
}
