//! A worker that does what the test says, on the other end of a real door, and real HTTP clients.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod client;
pub(crate) mod raw;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod worker;

use std::sync::Arc;

use event_source_door::hosts;
use event_source_door::limits::Limits;
use event_source_door::message::{Batch, Changes, Opened, Tail};
pub(crate) use event_source_door::message::{Config, JwtKey};
use event_source_door::protocols::Protocols;
use event_source_model::cost::Cost;
use event_source_model::event::{Event, EventType, Page, View};
use event_source_model::image::{Column, Image, Key, Shape};
use event_source_model::net::NetChange;
use event_source_model::position::Position;
use event_source_model::source::Start;
use event_source_model::value::Value;

pub(crate) const SOURCE: u64 = 5;
pub(crate) const GRANT: u64 = 6;
pub(crate) const COLLECTION: u64 = 11;
pub(crate) const HISTORY: u64 = 7;

pub(crate) fn config() -> Config {
    Config {
        status_interval_ms: 60_000,
        tail_memory_bytes: 1 << 20,
        server_memory_bytes: 1 << 30,
        worker_threads: 2,
        max_clients: 100,
        max_streams: 100,
        cors_origins: String::new(),
        require_secret: false,
        limits: Limits::default(),
        protocols: Protocols::all(),
        allowed_hosts: hosts::parse("*").expect("any"),
        has_anonymous_role: true,
        jwt_key: JwtKey::Unread,
    }
}

pub(crate) fn view() -> View {
    View { collection: "Product".to_owned(), fields: None, projection: None, history: HISTORY }
}

/// An open source that is read from behind `closed`.
pub(crate) fn opened(closed: i64, matched_since: i64) -> Opened {
    Opened {
        source: SOURCE,
        grant: GRANT,
        role: 10,
        view: view(),
        position: Position::after(closed),
        start: Start { closed, seen: Vec::new() },
        matched_since,
        expires: None,
        collection: COLLECTION,
        reads: false,
    }
}

pub(crate) fn row(id: i64, text: &str) -> Image {
    let column = |attnum, name: &str| Column { attnum, name: name.to_owned() };
    let shape = Shape { columns: vec![column(1, "id"), column(2, "name")], key: vec![0] };
    Image { shape: Arc::new(shape), values: vec![Value::BigInt(id), Value::Text(text.to_owned())] }
}

/// The row with this id is added at `txn_ts`.
pub(crate) fn added(txn_ts: i64, id: i64) -> Event {
    Event {
        kind: EventType::Add,
        position: Position::at(txn_ts, 0),
        key: Some(Key(vec![Value::BigInt(id)])),
        before: None,
        after: Some(row(id, "x")),
    }
}

pub(crate) fn batch(events: Vec<Event>, position: Position, live: bool) -> Batch {
    Batch {
        events: events.into(),
        position,
        goes_on: false,
        live,
        error: None,
        cost: Cost::default(),
    }
}

pub(crate) fn page(events: Vec<Event>, closed: i64, has_next: bool) -> Page {
    Page {
        view: view(),
        events: events.into(),
        position: Position::after(closed),
        has_next,
        ends_snapshot: false,
        is_cut: false,
        error: None,
        cost: Cost::default(),
    }
}

/// In `(since, closed]` the row `id` is added at `closed`, with a text of this length.
pub(crate) fn tail_of(since: i64, closed: i64, id: i64, text: &str) -> Tail {
    tail_seen_by(since, closed, id, text, &[SOURCE])
}

pub(crate) fn tail_seen_by(since: i64, closed: i64, id: i64, text: &str, seen: &[u64]) -> Tail {
    let seen_by = seen.iter().map(|source| (*source, EventType::Add)).collect();
    let mut changes = Changes::default();
    changes.push(Position::at(closed, 0), &net(None, Some(row(id, text))), seen_by);
    Tail { changes, ..empty_tail(since, closed) }
}

/// What a transaction did to a row.
pub(crate) fn net(before: Option<Image>, after: Option<Image>) -> NetChange {
    let key = after.as_ref().or(before.as_ref()).and_then(Image::key);
    NetChange { collection: COLLECTION, key, before, after, rewrite: false }
}

pub(crate) fn empty_tail(since: i64, closed: i64) -> Tail {
    let end = Position::after(closed);
    Tail { since, end, closed, changes: Changes::default(), looked_at: Vec::new() }
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 294247")
}
