//! Twenty ways to lose the right to read a stream: each ends it in the protocol's own way within five
//! seconds, also when nothing happens, and nothing is delivered that was committed after the loss.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod follower;
mod ways;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use event_source_tests::consume::{Feed, Version};
use event_source_tests::follow::{explain, mint};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, SetAtEnd, jwt, wait_until};
use follower::{Follower, WIRES, Wire};
use postgres::Client;
use serde_json::json;
use ways::{Loss, WAYS, Way, give};

/// In which every end has to be said, as the documentation promises. It is looked for each second, so that no
/// machine makes it quick or slow: seen are 1.0 seconds, and 2.0 for what expires.
const SOON: Duration = Duration::from_secs(5);

fn served() -> (Cluster, Client) {
    let cluster = Cluster::options()
        .conf("event_source.jwt_key_file", jwt::KEY_FILE)
        .conf("event_source.jwt_parent_role", "parent")
        .conf("max_connections", 200)
        .start();
    jwt::put_key(&cluster, jwt::SECRET);
    let mut client = cluster.connect();
    client.batch_execute("CREATE ROLE parent").unwrap();
    let _ = cluster.serving();
    (cluster, client)
}

/// The right is gone when this returns. `given` is when what expires was made, or a little later.
fn lose(client: &mut Client, way: &Way, given: Instant) {
    match &way.loss {
        Loss::Sql(sql) => client.batch_execute(sql).unwrap(),
        Loss::Time(seconds) => {
            let end = Duration::from_secs(*seconds);
            wait_until("the time to be over", LONG, || given.elapsed() >= end);
        }
    }
}

#[test]
fn a_quiet_stream_ends_in_its_own_way_within_five_seconds() {
    let (cluster, mut client) = served();
    for (number, &way) in WAYS.iter().enumerate() {
        let way = give(&cluster, &mut client, number, way);
        let given = Instant::now();
        let mut streams = WIRES.map(|wire| (wire, Follower::open(&cluster, &way, wire)));
        lose(&mut client, &way, given);
        let lost = Instant::now();
        for (wire, stream) in &mut streams {
            let (code, changes) = stream.end(LONG);
            let took = lost.elapsed();
            assert!(took <= SOON, "{}, {wire:?}: {took:?}", way.what);
            assert_eq!(code, way.code(*wire), "{}, {wire:?}", way.what);
            assert!(changes.is_empty(), "{}, {wire:?}: {changes:?}", way.what);
        }
    }
}

/// Rows one by one, each says whether it was begun after the loss; how many of those there are.
fn write(client: &mut Client, table: &str, lost: &AtomicBool, late: &AtomicU64, stop: &AtomicBool) {
    let insert = client.prepare(&format!("INSERT INTO {table} (late) VALUES ($1)")).unwrap();
    while !stop.load(SeqCst) {
        let after = lost.load(SeqCst);
        if let Err(error) = client.execute(&insert, &[&after]) {
            // The table is what was lost.
            let gone = client.prepare(&format!("TABLE {table}")).is_err();
            assert!(gone, "{}", explain(&error));
            late.fetch_add(1_000, SeqCst);
            return;
        }
        late.fetch_add(u64::from(after), SeqCst);
    }
}

#[test]
fn nothing_that_was_committed_after_the_loss_is_delivered() {
    const ROUNDS: usize = 3;
    let (cluster, mut client) = served();
    for round in 0..ROUNDS {
        for (number, &way) in WAYS.iter().enumerate() {
            let way = give(&cluster, &mut client, round * WAYS.len() + number, way);
            let given = Instant::now();
            let mut streams = WIRES.map(|wire| (wire, Follower::open(&cluster, &way, wire)));
            let (lost, stop) = (AtomicBool::new(false), AtomicBool::new(false));
            let late = AtomicU64::new(0);
            thread::scope(|scope| {
                let _stop = SetAtEnd(&stop);
                let mut writer = cluster.connect();
                let (lost, late, stop, table) = (&lost, &late, &stop, way.table.as_str());
                scope.spawn(move || write(&mut writer, table, lost, late, stop));
                let ends: Vec<_> = streams
                    .iter_mut()
                    .map(|(wire, stream)| {
                        for _ in 0..20 {
                            let event = stream.next(LONG).unwrap().expect("the stream is live");
                            assert!(event.error.is_none(), "{}, {wire:?}: {event:?}", way.what);
                        }
                        scope.spawn(move || (*wire, stream.end(LONG)))
                    })
                    .collect();
                lose(&mut client, &way, given);
                lost.store(true, SeqCst);
                wait_until("rows after the loss", LONG, || late.load(SeqCst) >= 100);
                for end in ends {
                    let (wire, (code, changes)) = end.join().unwrap();
                    assert_eq!(code, way.code(wire), "{}, {wire:?}", way.what);
                    let late = changes.iter().position(|change| {
                        change.data.as_ref().is_some_and(|data| data["late"] != json!(false))
                    });
                    assert_eq!(late, None, "of {} after it: {}, {wire:?}", changes.len(), way.what);
                }
            });
        }
    }
}

#[test]
fn a_feed_that_is_polled_is_refused_from_the_first_poll_after_the_loss() {
    let (cluster, mut client) = served();
    for (number, &way) in WAYS.iter().enumerate() {
        let way = give(&cluster, &mut client, number, way);
        let given = Instant::now();
        let mut feed = Feed::new(cluster.http(), Version::Http1).unwrap();
        let mut more = json!({});
        if let Some(secret) = &way.secret {
            more["access_token"] = json!(secret);
        }
        let mut cursor = None;
        // The third and those behind it come from memory.
        for _ in 0..5 {
            cursor = Some(feed.page(&way.token, cursor.as_deref(), &more).unwrap().cursor);
        }
        lose(&mut client, &way, given);
        let refused = feed.page(&way.token, cursor.as_deref(), &more);
        let refused = refused.expect_err(way.what);
        assert_eq!(refused.code(), Some(way.code(Wire::Native)), "{}", way.what);
    }
}

#[test]
fn a_stream_that_still_reads_from_the_log_ends_before_its_end() {
    const TRANSACTIONS: u64 = 300;
    const ROWS: u64 = 100;
    let (cluster, mut client) = served();
    let whole = usize::try_from(TRANSACTIONS * ROWS).unwrap();
    for (number, &way) in WAYS.iter().enumerate() {
        let way = give(&cluster, &mut client, number, way);
        let Loss::Sql(_) = way.loss else { continue };
        let table = &way.table;
        let insert = format!(
            "INSERT INTO {table} (late, text) SELECT false, repeat('x', 2000)
             FROM generate_series(1, {ROWS})"
        );
        for _ in 0..TRANSACTIONS {
            client.batch_execute(&insert).unwrap();
        }
        for wire in WIRES {
            // The right is lost once; the other wire has its turn with the next way.
            if (number % 2 == 0) != (wire == WIRES[0]) {
                continue;
            }
            let mut stream = Follower::open(&cluster, &way, wire);
            let first = stream.next(LONG).unwrap().expect("an event");
            assert!(first.kind.is_change(), "{first:?}");
            lose(&mut client, &way, Instant::now());
            // Too many for the tail: what is to see them reads them from the log.
            let late =
                format!("INSERT INTO {table} (late) SELECT true FROM generate_series(1, 12000)");
            if way.what != "the table" {
                client.batch_execute(&late).unwrap();
            }
            let (code, changes) = stream.end(LONG);
            assert_eq!(code, way.code(wire), "{}, {wire:?}", way.what);
            assert!(changes.len() + 1 < whole, "all of it came: {}, {wire:?}", way.what);
            let came = changes.iter().all(|c| c.data.as_ref().unwrap()["late"] == json!(false));
            assert!(came, "a row of after the loss: {}, {wire:?}", way.what);
        }
    }
}

#[test]
fn only_the_streams_of_what_was_lost_end() {
    let (cluster, mut client) = served();
    let way = give(&cluster, &mut client, 0, WAYS[6]);
    assert_eq!(way.what, "the token, revoked");
    // Of the same definition, and so of the same source in the worker.
    let other = give_again(&mut client, &way);
    let mut ends = Follower::open(&cluster, &way, WIRES[0]);
    let mut stays = Follower::open(&cluster, &other, WIRES[0]);
    lose(&mut client, &way, Instant::now());
    assert_eq!(ends.end(SOON).0, "unauthorized");
    client.batch_execute(&format!("INSERT INTO {} (late) VALUES (true)", way.table)).unwrap();
    let event = loop {
        let event = stays.next(LONG).unwrap().expect("it goes on");
        if event.kind.is_change() {
            break event;
        }
    };
    assert_eq!(event.data.unwrap()["late"], json!(true));
}

/// Another token for the same.
fn give_again(client: &mut Client, way: &Way) -> Way {
    let token = mint(client, &format!("event_source('{}')", way.table));
    let (table, loss) = (way.table.clone(), way.loss.clone());
    Way { what: "another token", table, token, secret: None, loss, codes: way.codes }
}
