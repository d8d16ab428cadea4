//! Feeds that are polled at the end of the log, whose pages come from the server's memory: they are the pages
//! that SQL reads, and have everything that was closed before they were asked for: of a client that commits
//! alone whatever it has committed, of several what no commit that is under way stands before.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeSet;
use std::thread;

use event_source_tests::consume::{Feed, Page, Version, sql};
use event_source_tests::follow::{mint, served};
use event_source_tests::resume::changed;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use serde_json::json;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
                     CREATE TABLE other (id int PRIMARY KEY);
                     SELECT event_source.capture('t'), event_source.capture('other')";

fn feed(cluster: &Cluster) -> Feed {
    Feed::new(cluster.http(), Version::Http1).unwrap()
}

/// Where the feed ends now, polled until that is known without the log.
fn polled(feed: &mut Feed, token: &str) -> String {
    let mut cursor = None;
    for _ in 0..5 {
        let page = feed.page(token, cursor.as_deref(), &json!({})).unwrap();
        cursor = Some(page.cursor);
    }
    cursor.unwrap()
}

#[test]
fn a_poll_has_what_its_client_committed_before() {
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    let mut feed = feed(&cluster);
    let mut cursor = polled(&mut feed, &token);
    for (at, late) in ["on", "off"].into_iter().enumerate() {
        // Told of a commit once it is safe on the disk, or before.
        client.batch_execute(&format!("SET synchronous_commit = {late}")).unwrap();
        for round in 0..300 {
            let own = at as i32 * 1000 + round;
            client.execute("INSERT INTO t VALUES ($1)", &[&own]).unwrap();
            let page = feed.page(&token, Some(&cursor), &json!({})).unwrap();
            let keys: Vec<i64> = page.events.iter().filter_map(changed).collect();
            assert_eq!(keys, [i64::from(own)], "synchronous_commit {late}, round {round}");
            cursor = page.cursor;
        }
    }
}

#[test]
fn clients_that_poll_and_commit_all_get_everything_once_and_in_one_order() {
    const CLIENTS: i64 = 4;
    const ROUNDS: i64 = 150;
    let (cluster, mut client) = served(TABLE);
    let token = mint(&mut client, "event_source('t')");
    let (cluster, token) = (&cluster, &token);
    let begin = polled(&mut feed(cluster), token);
    let seen: Vec<Vec<i64>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut cursor = begin.clone();
                scope.spawn(move || {
                    let (mut client, mut feed) = (cluster.connect(), feed(cluster));
                    // Half of them are told of a commit before it is safe on the disk.
                    let late = if number % 2 == 0 { "on" } else { "off" };
                    client.batch_execute(&format!("SET synchronous_commit = {late}")).unwrap();
                    let mut seen = Vec::new();
                    for round in 0..ROUNDS {
                        let own = round * CLIENTS + number;
                        client.execute("INSERT INTO t VALUES ($1)", &[&(own as i32)]).unwrap();
                        let size = [1, 3, 100][round as usize % 3];
                        // While somebody else commits, what comes behind is not closed yet.
                        wait_until("the own row to be told", LONG, || {
                            let more = json!({ "page_size": size });
                            let page = feed.page(token, Some(&cursor), &more).unwrap();
                            seen.extend(page.events.iter().filter_map(changed));
                            cursor = page.cursor;
                            seen.contains(&own)
                        });
                    }
                    (seen, cursor, feed)
                })
            })
            .collect();
        let ends: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let rest = |(mut seen, cursor, mut feed): (Vec<i64>, String, Feed)| {
            let page = feed.page(token, Some(&cursor), &json!({ "page_size": 16000 })).unwrap();
            seen.extend(page.events.iter().filter_map(changed));
            assert!(!page.has_next);
            seen
        };
        ends.into_iter().map(rest).collect()
    });
    let all: BTreeSet<i64> = (0..CLIENTS * ROUNDS).collect();
    assert_eq!(seen[0].iter().copied().collect::<BTreeSet<_>>(), all);
    assert_eq!(seen[0].len(), all.len(), "nothing twice");
    assert!(seen.iter().all(|each| *each == seen[0]), "one order for everybody");
}

#[test]
fn a_page_from_memory_is_the_page_that_sql_reads() {
    let (cluster, mut client) = served(TABLE);
    let plain = mint(&mut client, "event_source('t')");
    let filtered = mint(&mut client, "event_source('t', filter => 'v <> ''b''')");
    let mut feed = feed(&cluster);
    let begins = [&plain, &filtered].map(|token| (token, polled(&mut feed, token)));
    for statement in [
        "INSERT INTO t SELECT n, 'a' FROM generate_series(1, 5) n",
        "INSERT INTO other SELECT generate_series(1, 5)",
        "UPDATE t SET v = 'b' WHERE id = 2",
        "UPDATE t SET v = NULL WHERE id = 3",
        "BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'new'); COMMIT",
        "UPDATE t SET id = id + 10 WHERE id > 3",
        "DELETE FROM t",
        "INSERT INTO other VALUES (6)",
    ] {
        client.batch_execute(statement).unwrap();
    }
    for (token, begin) in &begins {
        for size in [1, 2, 3, 4, 7, 100] {
            let mut cursor = begin.clone();
            loop {
                let more = json!({ "page_size": size, "include": "prev" });
                let ours = feed.page(token, Some(&cursor), &more).unwrap();
                let theirs = sql::event_page(&mut client, token, Some(&cursor), size, &["prev"]);
                let Page { events, cursor: end, has_next } = theirs.unwrap();
                assert_eq!(ours.events, events, "{size} behind {cursor}");
                assert_eq!(ours.has_next, has_next, "{size} behind {cursor}");
                cursor = ours.cursor;
                if !has_next {
                    assert_eq!(cursor, end, "both are at the end of the log");
                    break;
                }
            }
        }
    }
}
