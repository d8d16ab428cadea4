//! One table, followed by every protocol at once under the order test's workload.
//!
//! A native stream with both images is the measure: the copy that it makes is compared with the table
//! itself. Every other protocol must tell exactly the same story, in the same order, as far as it has words for
//! it. `PROTOCOLS_TRANSACTIONS` sets how many transactions commit, `ORDER_SEED` what they are.

mod followers;
mod story;

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::thread;

use crate::order::table::{Shape, change_much};
use crate::order::workload::{Goal, Session};
use event_source_tests::rebuild::quiet::rows;
use event_source_tests::{Cluster, Options};
use followers::{Follower, LAST};
use serde_json::Value;
use story::{Change, Kind};

const SESSIONS: u64 = 8;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}"))
    })
}

fn cluster() -> Cluster {
    Options::default()
        .conf("deadlock_timeout", "20ms")
        .conf("event_source.status_interval", "1s")
        .conf("max_wal_size", "4GB")
        .start()
}

/// What is left when all of it has happened.
fn applied(story: &[Change]) -> Vec<Value> {
    let mut rows = BTreeMap::new();
    for change in story {
        match (&change.kind, &change.row) {
            (Kind::Remove, _) => assert!(rows.remove(&change.key).is_some(), "{change:?}"),
            (Kind::Add, Some(row)) => {
                assert!(rows.insert(change.key.clone(), row.clone()).is_none(), "{change:?}");
            }
            (Kind::Update, Some(row)) => {
                assert!(rows.insert(change.key.clone(), row.clone()).is_some(), "{change:?}");
            }
            (_, None) => panic!("no row: {change:?}"),
        }
    }
    rows.into_values().collect()
}

fn sorted(mut rows: Vec<Value>) -> Vec<String> {
    rows.sort_by_key(|row| row["id"].as_i64());
    rows.iter().map(ToString::to_string).collect()
}

#[test]
fn all_protocols_tell_one_story_in_one_order_and_it_is_the_tables() {
    let cluster = cluster();
    let mut client = cluster.connect();
    let token = Shape::Plain.create(&mut client);
    client
        .batch_execute("CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader")
        .expect("a role can be created");
    let secret: String = client
        .query_one("SELECT event_source.create_secret('reader')", &[])
        .expect("a secret is made")
        .get(0);
    let _serving = cluster.serving();
    let goal = Goal::new(number("PROTOCOLS_TRANSACTIONS", 3000));
    let seed = number("ORDER_SEED", 1);

    let stories: BTreeMap<&str, Vec<Change>> = thread::scope(|scope| {
        let (ready, is_ready) = channel();
        let following: Vec<_> = Follower::ALL
            .into_iter()
            .map(|follower| {
                let (ready, token, secret, cluster) = (ready.clone(), &token, &secret, &cluster);
                let story = scope.spawn(move || {
                    let mut stream = follower.open(cluster.http(), token, secret);
                    ready.send(()).expect("the test waits");
                    stream.until_last()
                });
                (follower.name(), story)
            })
            .collect();
        for _ in &following {
            is_ready.recv().expect("every follower has begun");
        }
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let (client, goal) = (cluster.connect(), &goal);
                let session = Session::new(Shape::Plain, seed, number);
                scope.spawn(move || session.run(client, goal))
            })
            .collect();
        for session in sessions {
            session.join().expect("a writer panicked");
        }
        change_much(&mut client);
        client
            .batch_execute(&format!("INSERT INTO t VALUES ({LAST}, 0, 'last', NULL)"))
            .expect("the last row can be inserted");
        let told = |(name, story): (&'static str, thread::ScopedJoinHandle<'_, Vec<Change>>)| {
            (name, story.join().unwrap_or_else(|_| panic!("{name} failed")))
        };
        following.into_iter().map(told).collect()
    });

    let measure = &stories["native"];
    assert!(measure.len() as u64 > goal.committed(), "only {} changes", measure.len());
    assert_eq!(sorted(applied(measure)), sorted(rows(&mut client, "t")));
    for follower in Follower::ALL {
        let expected = follower.tells(measure);
        let told = &stories[follower.name()];
        let differs = expected.iter().zip(told).position(|(expected, told)| expected != told);
        if let Some(at) = differs {
            panic!("{}, {at}: {:?} instead of {:?}", follower.name(), told[at], expected[at]);
        }
        assert_eq!(told.len(), expected.len(), "{}", follower.name());
    }
}
