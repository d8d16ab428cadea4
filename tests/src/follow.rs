//! Clusters with tables in them, reading a set through SQL to its end, and looking closely at
//! refusals.
//!
//! It runs on the test's thread over a plain client; it needs no worker.

use postgres::{Client, Error};
use serde_json::Value;

use crate::Cluster;
use crate::consume::{Event, Kind, sql};
use crate::resume::changed;

/// A cluster that serves, in which `script` was run.
///
/// # Panics
/// When the script fails.
#[track_caller]
#[must_use]
pub fn served(script: &str) -> (Cluster, Client) {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client.batch_execute(script).unwrap_or_else(|e| panic!("{script}: {}", explain(&e)));
    let _serving = cluster.serving();
    (cluster, client)
}

/// A cluster without a worker in which `script` has made `table`, captured in the same transaction,
/// and a token of that table.
///
/// # Panics
/// When the script fails.
#[track_caller]
#[must_use]
pub fn captured(table: &str, script: &str) -> (Cluster, Client, String) {
    let cluster = Cluster::options().conf("event_source.listen", "").start();
    let mut client = cluster.connect();
    client
        .batch_execute(&format!("{script}; SELECT event_source.capture('{table}')"))
        .unwrap_or_else(|e| panic!("{script}: {}", explain(&e)));
    let token = mint(&mut client, &format!("event_source('{table}')"));
    (cluster, client, token)
}

/// Mints a token by an expression such as `event_source('product')`.
///
/// # Panics
/// When it is refused.
#[track_caller]
#[must_use]
pub fn mint(client: &mut Client, call: &str) -> String {
    let row = client.query_one(&format!("SELECT {call}"), &[]);
    row.unwrap_or_else(|e| panic!("{call}: {}", explain(&e))).get(0)
}

/// Every change behind `cursor` (or the token's start) that is there now.
///
/// # Panics
/// When a page is refused or carries an error.
#[track_caller]
#[must_use]
pub fn drain(client: &mut Client, token: &str, mut cursor: Option<String>) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let page = sql::event_page(client, token, cursor.as_deref(), 500, &["prev"])
            .unwrap_or_else(|e| panic!("the page is refused: {}", explain(&e)));
        for event in page.events {
            assert!(event.error.is_none(), "the page ends with {:?}", event.error);
            if event.kind.is_change() {
                events.push(event);
            }
        }
        if !page.has_next {
            return events;
        }
        cursor = Some(page.cursor);
    }
}

/// The keys of the changes behind `cursor` that are there now.
///
/// # Panics
/// As [`drain`].
#[track_caller]
#[must_use]
pub fn keys_behind(client: &mut Client, token: &str, cursor: &str) -> Vec<i64> {
    drain(client, token, Some(cursor.to_owned())).iter().filter_map(changed).collect()
}

/// The cursor that somebody is given who is refused for being of another history.
///
/// # Panics
/// When it is not refused, or for another reason.
#[track_caller]
#[must_use]
pub fn where_to_go_on(client: &mut Client, token: &str, cursor: Option<&str>) -> String {
    let result = sql::event_page(client, token, cursor, 10, &[]);
    let Err(error) = result else { panic!("it was not refused") };
    assert!(
        error.as_db_error().is_some_and(|e| e.message() == "the position is of another history"),
        "{}",
        explain(&error)
    );
    let detail = error.as_db_error().and_then(|said| said.detail()).unwrap_or_default();
    let cursor = detail.split_once("From ").and_then(|(_, rest)| rest.split_once(' '));
    cursor.unwrap_or_else(|| panic!("no cursor: {detail}")).0.to_owned()
}

/// The changes as `add 1`, `update 1`: what a test compares at a glance.
///
/// # Panics
/// As [`drain`].
#[track_caller]
#[must_use]
pub fn story(client: &mut Client, token: &str) -> Vec<String> {
    drain(client, token, None).iter().map(told).collect()
}

/// A [`story`] where the order of rows does not matter: the rows of one statement.
#[must_use]
pub fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}

fn told(event: &Event) -> String {
    let kind = match event.kind {
        Kind::Add => "add",
        Kind::Update => "update",
        Kind::Remove => "remove",
        Kind::HistoryRewrite => "history_rewrite",
        Kind::Status => "status",
        Kind::Error => "error",
    };
    match &event.key {
        None | Some(Value::Null) => kind.to_owned(),
        Some(Value::String(key)) => format!("{kind} {key}"),
        Some(key) => format!("{kind} {key}"),
    }
}

/// What PostgreSQL said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: String,
    pub message: String,
    pub hint: String,
}

/// The refusal of a statement, checked for the style that PostgreSQL's own messages have.
///
/// # Panics
/// When it succeeded, failed otherwise than by the server, or speaks in another style.
#[track_caller]
pub fn refused<T>(result: Result<T, Error>) -> Refused {
    let Err(error) = result else { panic!("it was not refused") };
    let Some(said) = error.as_db_error() else { panic!("not the server's refusal: {error}") };
    let message = said.message();
    let first = message.chars().next().expect("an error has a message");
    assert!(!first.is_uppercase() && !message.ends_with('.'), "style of: {message}");
    assert_ne!(said.code().code(), "XX000", "an internal error: {message}");
    Refused {
        code: said.code().code().to_owned(),
        message: message.to_owned(),
        hint: said.hint().unwrap_or_default().to_owned(),
    }
}

/// An error with everything that the server said.
#[must_use]
pub fn explain(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => format!(
            "{} {} ({}; {})",
            said.code().code(),
            said.message(),
            said.detail().unwrap_or("no detail"),
            said.hint().unwrap_or("no hint")
        ),
        None => error.to_string(),
    }
}
