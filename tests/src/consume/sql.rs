//! The feed in SQL: `event_feed` and `event_page`, from any backend.

use postgres::{Client, Error};
use serde_json::Value;

use super::event::{Event, Kind, Page};

/// One page by `event_page`.
///
/// # Panics
/// When the function gives something else than a page.
pub fn event_page(
    client: &mut Client,
    token: &str,
    cursor: Option<&str>,
    page_size: i32,
    include: &[&str],
) -> Result<Page, Error> {
    let include: Vec<String> = include.iter().map(|&i| i.to_owned()).collect();
    let row = client.query_one(
        "SELECT event_page($1, cursor => $2, page_size => $3, include => $4)::text",
        &[&token, &cursor, &page_size, &include],
    )?;
    let text: String = row.get(0);
    Ok(serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("event_page gave no page: {e}: {text}")))
}

/// One page by `event_feed`: its rows, the last of them the status with the page's cursor.
///
/// # Panics
/// When a row is no event, or when the last one is no status.
pub fn event_feed(
    client: &mut Client,
    token: &str,
    cursor: Option<&str>,
    page_size: i32,
    include: &[&str],
) -> Result<Vec<Event>, Error> {
    let include: Vec<String> = include.iter().map(|&i| i.to_owned()).collect();
    let rows = client.query(
        "SELECT type, txn_ts, cursor, key::text, data::text, prev::text, diff::text \
         FROM event_feed($1, cursor => $2, page_size => $3, include => $4)",
        &[&token, &cursor, &page_size, &include],
    )?;
    let events: Vec<Event> = rows
        .iter()
        .map(|row| {
            let json = |at: usize| {
                row.get::<_, Option<String>>(at).map(|text| {
                    serde_json::from_str::<Value>(&text).expect("a json column holds JSON")
                })
            };
            let kind: String = row.get(0);
            Event {
                kind: serde_json::from_value(Value::String(kind)).expect("a known event type"),
                txn_ts: row.get(1),
                cursor: row.get(2),
                key: json(3),
                data: json(4),
                prev: json(5),
                diff: json(6),
                snapshot: None,
                error: None,
            }
        })
        .collect();
    assert_eq!(events.last().map(|e| e.kind), Some(Kind::Status), "the last row is the status");
    Ok(events)
}
