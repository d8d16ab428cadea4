//! Failover to a standby: whoever lost nothing goes on exactly, whoever did is told; and what a standby
//! serves before.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::consume::{Failed, Feed, Page, Request, Stream, Version, sql};
use event_source_tests::follow::{drain, mint, refused, story};
use event_source_tests::resume::{changed, follow_until};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;
use serde_json::json;

/// A primary with a captured table `t (id, v)` that has row 1, and its standby.
fn pair() -> (Cluster, Client, Cluster) {
    let primary = Cluster::options()
        .fresh()
        .conf("synchronous_commit", "local")
        .conf("event_source.status_interval", "1s")
        .start();
    let mut client = primary.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, v int); SELECT event_source.capture('t');
             INSERT INTO t VALUES (1)",
        )
        .unwrap();
    let standby = primary.standby();
    (primary, client, standby)
}

fn insert(client: &mut Client, ids: std::ops::RangeInclusive<i64>) {
    for id in ids {
        client.execute("INSERT INTO t VALUES ($1)", &[&id]).unwrap();
    }
}

/// The cursor at the end of what is there now.
fn end(client: &mut Client, token: &str) -> String {
    sql::event_page(client, token, None, 1000, &[]).unwrap().cursor
}

fn told(client: &mut Client, token: &str, cursor: &str) -> Vec<i64> {
    drain(client, token, Some(cursor.to_owned())).iter().filter_map(changed).collect()
}

fn page(cluster: &Cluster, token: &str, cursor: Option<&str>) -> Result<Page, Failed> {
    Feed::new(cluster.http(), Version::Http1).unwrap().page(token, cursor, &json!({}))
}

/// The refusal of a page over HTTP for a changed history, and the cursor in it.
fn switch_point(cluster: &Cluster, token: &str, cursor: Option<&str>) -> String {
    let _ = cluster.serving();
    let refused = page(cluster, token, cursor).unwrap_err();
    assert_eq!(refused.code(), Some("history_changed"), "{refused}");
    let Failed::Refused { status, body } = refused else { unreachable!() };
    assert_eq!(status, 410);
    body["error"]["cursor"].as_str().expect("where to go on").to_owned()
}

#[test]
fn after_a_failover_without_loss_every_cursor_and_token_goes_on_exactly() {
    let (mut primary, mut client, standby) = pair();
    let first = mint(&mut client, "event_source('t')");
    insert(&mut client, 2..=20);
    let pages = drain(&mut client, &first, None);
    let mut cursors: Vec<(String, i64)> = pages
        .iter()
        .map(|event| (event.cursor.clone().unwrap(), changed(event).unwrap()))
        .collect();
    // The very last thing: nothing is written behind it that would prove it.
    insert(&mut client, 21..=21);
    let last = mint(&mut client, "event_source('t')");
    cursors.push((end(&mut client, &first), 21));
    standby.catch_up_with(&primary);
    primary.kill();
    standby.promote();

    let mut client = standby.connect();
    insert(&mut client, 22..=23);
    for (cursor, key) in cursors {
        let wanted: Vec<i64> = (key + 1..=23).collect();
        assert_eq!(told(&mut client, &first, &cursor), wanted, "behind {key}");
        // Named anew by the new history, it is good again.
        let renamed = end(&mut client, &first);
        assert!(told(&mut client, &first, &renamed).is_empty());
    }
    assert_eq!(story(&mut client, &first).len(), 22);
    assert_eq!(story(&mut client, &last), ["add 22", "add 23"]);
    let _ = standby.serving();
    assert_eq!(page(&standby, &last, None).unwrap().events.len(), 2);
}

#[test]
fn what_a_failover_lost_is_answered_with_the_switch_point_and_nothing_else_is() {
    let (mut primary, mut client, standby) = pair();
    let kept = mint(&mut client, "event_source('t')");
    insert(&mut client, 2..=5);
    let common = end(&mut client, &kept);
    standby.catch_up_with(&primary);
    standby.cut_off();
    insert(&mut client, 6..=7);
    let lost = end(&mut client, &kept);
    let minted_late = mint(&mut client, "event_source('t')");
    insert(&mut client, 8..=8);
    primary.kill();
    standby.promote();

    let mut client = standby.connect();
    insert(&mut client, 100..=101);
    assert_eq!(told(&mut client, &kept, &common), [100, 101]);
    assert_eq!(story(&mut client, &kept).len(), 6, "the token itself is from before");
    for (token, cursor) in [(&kept, Some(lost.as_str())), (&minted_late, None)] {
        let refused = refused(sql::event_page(&mut client, token, cursor, 10, &[]));
        assert_eq!(
            (refused.code.as_str(), &*refused.message),
            ("72000", "the position is of another history")
        );
        let switch = switch_point(&standby, token, cursor);
        assert_eq!(told(&mut client, token, &switch), [100, 101], "from the switch point on");
        let request = Request::new(token).after(cursor.map(str::to_owned));
        let refused = Stream::open(standby.http(), &request).unwrap_err();
        assert_eq!(refused.code(), Some("history_changed"), "{refused}");
    }
}

#[test]
fn rows_of_a_snapshot_that_a_failover_lost_are_noticed_wherever_the_reader_stands() {
    let (mut primary, mut client, standby) = pair();
    let token = mint(&mut client, "event_source('t')");
    insert(&mut client, 2..=5);
    let _ = primary.serving();
    let read = |cluster: &Cluster, cursor: Option<&str>, size: u32| {
        let more = json!({ "snapshot": true, "page_size": size });
        Feed::new(cluster.http(), Version::Http1).unwrap().page(&token, cursor, &more)
    };
    let begun = read(&primary, None, 1).unwrap();
    client.batch_execute("UPDATE t SET v = 7 WHERE id = 1").unwrap();
    standby.catch_up_with(&primary);
    standby.cut_off();
    insert(&mut client, 6..=7);
    let rows = read(&primary, Some(&begun.cursor), 1000).unwrap();
    assert_eq!(rows.events.iter().filter_map(changed).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    // This event both servers have. Its reader has more.
    let tail = read(&primary, Some(&rows.cursor), 1).unwrap();
    assert_eq!(tail.events.iter().filter_map(changed).collect::<Vec<_>>(), [1]);
    primary.kill();
    standby.promote();

    let mut client = standby.connect();
    insert(&mut client, 100..=100);
    let _ = standby.serving();
    let within = rows.events[0].cursor.as_deref().unwrap();
    for cursor in [within, &rows.cursor, &tail.cursor, tail.events[0].cursor.as_deref().unwrap()] {
        let refused = read(&standby, Some(cursor), 10).unwrap_err();
        assert_eq!(refused.code(), Some("history_changed"), "{refused}");
    }
    let rows = read(&standby, Some(&begun.cursor), 1000).unwrap();
    assert_eq!(rows.events.iter().filter_map(changed).collect::<Vec<_>>(), [2, 3, 4, 5, 100]);
    let tail = read(&standby, Some(&rows.cursor), 1000).unwrap();
    assert_eq!(tail.events.iter().filter_map(changed).collect::<Vec<_>>(), [1, 100]);
}

#[test]
fn a_commit_that_was_lost_below_one_that_was_not_is_noticed() {
    let (mut primary, mut client, standby) = pair();
    let token = mint(&mut client, "event_source('t')");
    // Holds the lock that every NOTIFY takes behind its stamp, for as long as no such standby answers.
    primary.set("synchronous_standby_names", "nobody");
    primary.reload();
    wait_until("the setting to count", LONG, || {
        let shown = client.query_one("SHOW synchronous_standby_names", &[]).unwrap();
        shown.get::<_, String>(0) == "nobody"
    });
    let (mut holder, mut late) = (primary.connect(), primary.connect());
    let pid = |client: &mut Client| -> i32 {
        client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
    };
    let (holder_pid, late_pid) = (pid(&mut holder), pid(&mut late));
    let cursor = std::thread::scope(|scope| {
        let waits = |client: &mut Client, pid: i32, event: &str| -> bool {
            let query = "SELECT coalesce(wait_event, '') = $2 FROM pg_stat_activity WHERE pid = $1";
            client.query_one(query, &[&pid, &event]).unwrap().get(0)
        };
        scope.spawn(move || {
            holder.batch_execute(
                "SET synchronous_commit = on; CREATE TABLE other (); NOTIFY nobody_listens",
            )
        });
        wait_until("the lock to be held", LONG, || waits(&mut client, holder_pid, "SyncRep"));
        let late = scope.spawn(move || {
            late.batch_execute("BEGIN; INSERT INTO t VALUES (2); NOTIFY nobody_listens; COMMIT")
        });
        wait_until("the stamp to be taken", LONG, || waits(&mut client, late_pid, "object"));
        // Stamped above, committed before: this one reaches the standby.
        insert(&mut client, 3..=3);
        standby.catch_up_with(&primary);
        standby.cut_off();
        client.execute("SELECT pg_cancel_backend($1)", &[&holder_pid]).unwrap();
        late.join().unwrap().unwrap();
        assert_eq!(story(&mut client, &token), ["add 2", "add 3"]);
        end(&mut client, &token)
    });
    primary.kill();
    standby.promote();
    let mut client = standby.connect();
    assert_eq!(story(&mut client, &token), ["add 3"]);
    let refused = refused(sql::event_page(&mut client, &token, Some(&cursor), 10, &[]));
    assert_eq!(refused.message, "the position is of another history");
}

#[test]
fn a_standby_serves_the_same_feed_and_streams_and_none_of_them_breaks_by_its_promotion() {
    let (mut primary, mut client, standby) = pair();
    let token = mint(&mut client, "event_source('t')");
    insert(&mut client, 2..=10);
    let _ = (primary.serving(), standby.serving());
    let all: Vec<i64> = (2..=10).collect();
    // The closed timestamp of a standby is that of the newest stamp: a heartbeat follows every burst.
    wait_until("the standby to tell all", LONG, || {
        page(&standby, &token, None).unwrap().events.len() == all.len()
    });
    assert_eq!(
        page(&standby, &token, None).unwrap().events,
        page(&primary, &token, None).unwrap().events,
        "another feed than the primary's, cursors included"
    );
    assert_eq!(told(&mut standby.connect(), &token, ""), all);
    // Minted on the standby.
    let from_standby = mint(&mut standby.connect(), "event_source('t')");
    let mut stream = Stream::open(standby.http(), &Request::new(&from_standby)).unwrap();

    insert(&mut client, 11..=12);
    assert_eq!(changed(&stream.next_change(LONG)), Some(11));
    std::thread::scope(|scope| {
        let follower =
            scope.spawn(|| follow_until(standby.http(), &from_standby, || Some(2 + 3 + 40)));
        assert_eq!(changed(&stream.next_change(LONG)), Some(12));
        insert(&mut client, 13..=15);
        standby.catch_up_with(&primary);
        primary.kill();
        standby.promote();
        let mut client = standby.connect();
        insert(&mut client, 16..=55);
        let wanted: Vec<i64> = (11..=55).collect();
        assert_eq!(follower.join().unwrap(), wanted);
    });
    // The stream itself ended with a word, or was cut: never silently on with the old name.
    loop {
        match stream.next(LONG) {
            Ok(Some(event)) => {
                assert!(changed(&event).is_none_or(|key| key <= 15), "{event:?}");
            }
            Ok(None) | Err(Failed::Http(_) | Failed::Connection(_)) => break,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn no_position_falls_or_comes_twice_over_two_failovers() {
    let (mut primary, mut client, mut standby) = pair();
    let token = mint(&mut client, "event_source('t')");
    let mut key = 1;
    let mut cursors = Vec::new();
    for _ in 0..2 {
        insert(&mut client, key + 1..=key + 5);
        key += 5;
        cursors.push((end(&mut client, &token), key));
        standby.catch_up_with(&primary);
        primary.kill();
        standby.promote();
        let next = standby.standby();
        primary = standby;
        standby = next;
        client = primary.connect();
    }
    insert(&mut client, key + 1..=key + 5);
    let events = drain(&mut client, &token, None);
    let times: Vec<i64> = events.iter().filter_map(|e| e.txn_ts).collect();
    assert_eq!(times.len(), 15);
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    for (cursor, key) in cursors {
        let wanted: Vec<i64> = (key + 1..=16).collect();
        assert_eq!(told(&mut client, &token, &cursor), wanted, "behind {key}");
    }
}
