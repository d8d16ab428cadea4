//! A row's past goes from the log and from its files, and subscribers are told.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeMap;
use std::fs;

use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::{Event, Kind, Request, Stream, Version, sql};
use event_source_tests::follow::{mint, refused};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;
use serde_json::json;

/// What must not be found any more.
const NEEDLE: &str = "9f86d081884c7d659a2feaa0c55ad015";

fn people() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE person (id int PRIMARY KEY, email text, city text);
             CREATE INDEX person_by_city ON person (city);
             SELECT event_source.capture('person')",
        )
        .unwrap();
    let _ = cluster.serving();
    (cluster, client)
}

fn all(client: &mut Client, token: &str) -> Vec<Event> {
    let page = sql::event_page(client, token, None, 16_000, &["prev"]).unwrap();
    assert!(!page.has_next);
    page.events
}

fn next(stream: &mut Stream) -> Event {
    loop {
        let event = stream.next(LONG).unwrap().expect("the stream goes on");
        if event.kind != Kind::Status {
            return event;
        }
    }
}

fn redact(client: &mut Client, call: &str) -> i64 {
    client.query_one(&format!("SELECT event_source.redact({call})"), &[]).unwrap().get(0)
}

#[test]
fn a_rows_past_is_its_key_alone_and_everything_else_stays_where_it_was() {
    let (_cluster, mut client) = people();
    let token = mint(&mut client, "event_source('person')");
    for statement in [
        "INSERT INTO person VALUES (1, 'a@b.c', 'here'), (2, 'd@e.f', 'there')",
        "UPDATE person SET city = 'elsewhere'",
        "DELETE FROM person WHERE id = 1",
    ] {
        client.batch_execute(statement).unwrap();
    }
    let before = all(&mut client, &token);
    assert_eq!(redact(&mut client, "'person', '1'"), 3);
    let mut after = all(&mut client, &token);
    let told = after.pop().unwrap();
    assert_eq!((told.kind, told.key, told.data), (Kind::HistoryRewrite, Some(1.into()), None));
    assert_eq!(after.len(), before.len());
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!((before.kind, &before.key), (after.kind, &after.key));
        assert_eq!(before.cursor, after.cursor, "nothing shifts under a reader");
        if before.key == Some(1.into()) {
            assert_eq!(after.data, Some(json!({"id": 1})));
            assert!(after.prev.is_none_or(|prev| prev == json!({"id": 1})));
        } else {
            assert_eq!((before.data, before.prev), (after.data, after.prev));
        }
    }
    assert_eq!(redact(&mut client, "'person', '3'"), 0, "nothing is known of it");
}

#[test]
fn single_columns_go_from_the_log_also_what_this_transaction_has_written() {
    let (_cluster, mut client) = people();
    let token = mint(&mut client, "event_source('person')");
    client.batch_execute("INSERT INTO person VALUES (1, 'a@b.c', 'here')").unwrap();
    client
        .batch_execute(
            "BEGIN;
             UPDATE person SET email = NULL WHERE id = 1;
             SELECT event_source.redact('person', '1', '{email}');
             COMMIT",
        )
        .unwrap();
    // So much that it is in the log before it commits.
    client
        .batch_execute(
            "BEGIN;
             INSERT INTO person SELECT n, 'x@y.z', 'there' FROM generate_series(2, 500) n;
             SELECT event_source.redact('person', '2', '{email}');
             COMMIT",
        )
        .unwrap();
    let events = all(&mut client, &token);
    let of =
        |key: i64| -> Vec<&Event> { events.iter().filter(|e| e.key == Some(key.into())).collect() };
    let kinds: Vec<Kind> = of(1).iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [Kind::Add, Kind::Update, Kind::HistoryRewrite]);
    assert_eq!(of(1)[0].data, Some(json!({"id": 1, "city": "here"})));
    assert_eq!(of(1)[1].prev, Some(json!({"id": 1, "city": "here"})));
    assert_eq!(of(2)[0].data, Some(json!({"id": 2, "city": "there"})));
    assert_eq!(of(3)[0].data, Some(json!({"id": 3, "email": "x@y.z", "city": "there"})));
    let raw = "SELECT count(*) FROM event_source.changes WHERE new::text LIKE '%a@b.c%'
               OR old::text LIKE '%a@b.c%'";
    assert_eq!(client.query_one(raw, &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn subscribers_whose_set_holds_the_row_are_told_and_get_nothing_of_it_from_memory() {
    let (cluster, mut client) = people();
    let open = |token: &str, cursor| {
        Stream::open(cluster.http(), &Request::new(token).after(cursor)).unwrap()
    };
    let token = mint(&mut client, "event_source('person')");
    let here = mint(&mut client, "event_source('person_by_city', terms => ARRAY['here'])");
    let there = mint(&mut client, "event_source('person_by_city', terms => ARRAY['there'])");
    let (mut everything, mut in_set, mut outside) =
        (open(&token, None), open(&here, None), open(&there, None));
    let mut v10 = V10Stream::open(cluster.http(), Version::Http2, &token, &token, None).unwrap();
    client.batch_execute("INSERT INTO person VALUES (1, 'a@b.c', 'here')").unwrap();
    let first = next(&mut everything);
    assert_eq!((first.kind, next(&mut in_set).kind), (Kind::Add, Kind::Add));
    redact(&mut client, "'person', '1', '{email}'");
    client.batch_execute("INSERT INTO person VALUES (2, 'd@e.f', 'there')").unwrap();
    assert_eq!(next(&mut everything).kind, Kind::HistoryRewrite);
    assert_eq!(next(&mut in_set).kind, Kind::HistoryRewrite);
    assert_eq!(next(&mut outside).key, Some(2.into()), "not its row");
    let kinds: Vec<Kind> = std::iter::from_fn(|| v10.next(LONG).unwrap())
        .map(|event| event.kind)
        .filter(|kind| *kind != Kind::Status)
        .take(2)
        .collect();
    assert_eq!(kinds, [Kind::Add, Kind::Add], "Fauna's v10 has no such event");
    // A client that comes back gets the new past.
    assert_eq!(next(&mut open(&token, None)).data, Some(json!({"id": 1, "city": "here"})));
    assert_eq!(next(&mut open(&token, first.cursor)).kind, Kind::HistoryRewrite);
}

/// The files of the log in which the needle is found.
fn found_in(cluster: &Cluster, client: &mut Client) -> Vec<String> {
    client.batch_execute("CHECKPOINT").unwrap();
    let files = "SELECT pg_relation_filepath(c.oid) FROM pg_class c
                 WHERE c.relkind IN ('r', 'i', 't') AND (
                     c.relnamespace = 'event_source'::regnamespace
                     OR c.oid IN (SELECT reltoastrelid FROM pg_class
                                  WHERE relnamespace = 'event_source'::regnamespace))";
    let files: Vec<String> = client.query(files, &[]).unwrap().iter().map(|r| r.get(0)).collect();
    let holds = |file: &String| {
        let bytes = fs::read(cluster.data().join(file)).unwrap_or_default();
        bytes.windows(NEEDLE.len()).any(|window| window == NEEDLE.as_bytes())
    };
    files.into_iter().filter(holds).collect()
}

#[test]
fn the_bytes_are_gone_from_the_files_of_the_log_soon_after() {
    let (cluster, mut client) = people();
    let token = mint(&mut client, "event_source('person')");
    client
        .batch_execute(&format!(
            "INSERT INTO person VALUES (1, '{NEEDLE}', 'here');
             INSERT INTO person SELECT n, 'x', 'y' FROM generate_series(2, 300) n;
             UPDATE person SET email = 'x' WHERE id = 1"
        ))
        .unwrap();
    assert!(!found_in(&cluster, &mut client).is_empty(), "the test can find it");
    let before = all(&mut client, &token).len();
    // Somebody who may still see the old log holds it up, and nobody else.
    let mut reader = cluster.connect();
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    redact(&mut client, "'person', '1'");
    assert!(!found_in(&cluster, &mut client).is_empty());
    reader.batch_execute("COMMIT").unwrap();
    redact(&mut client, "'person', '2'");
    wait_until("the bytes to be gone", LONG, || found_in(&cluster, &mut client).is_empty());
    let mut kinds = BTreeMap::new();
    for event in all(&mut client, &token) {
        *kinds.entry(format!("{:?}", event.kind)).or_insert(0) += 1;
    }
    assert_eq!(kinds.get("HistoryRewrite"), Some(&2));
    assert_eq!(kinds.values().sum::<usize>(), before + 2, "nothing else went");
}

#[test]
fn who_may_not_or_asks_for_what_is_not_there_is_told_so() {
    let (cluster, mut client) = people();
    client
        .batch_execute(
            "CREATE ROLE clerk LOGIN; GRANT ALL ON person TO clerk;
             CREATE TABLE keyless (v int); SELECT event_source.capture('keyless');
             CREATE TABLE free (id int PRIMARY KEY)",
        )
        .unwrap();
    let mut say = |call: &str| {
        let row = client.query_one(&format!("SELECT event_source.redact({call})"), &[]);
        let refused = refused(row);
        (refused.code, refused.message)
    };
    let told = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    assert_eq!(say("'free', '1'"), told("55000", "table public.free is not captured"));
    assert_eq!(say("'keyless', '1'").0, "42809");
    assert_eq!(say("'person', '1', '{nothing}'").0, "42703");
    assert_eq!(say("'person', NULL"), told("22023", "relation and key must not be null"));
    assert_eq!(say("'person', 'x'").0, "22P02");
    let mut clerk = cluster.connect_as("clerk");
    let refused = refused(clerk.query_one("SELECT event_source.redact('person', '1')", &[]));
    assert_eq!(refused.code, "42501");
}
