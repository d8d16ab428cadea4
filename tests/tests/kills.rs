//! The server killed again and again under load: no session of PostgreSQL notices, the worker stays, and clients that know
//! only their cursors have every row exactly.
//!
//! `KILLS` sets how often (20), `KILLS_SEED` when and how.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use event_source_tests::consume::{Form, Version};
use event_source_tests::follow::mint;
use event_source_tests::rebuild::quiet::{Tables, behind_everything, rows};
use event_source_tests::rebuild::source::Access;
use event_source_tests::rebuild::{Follower, Identity, Quiet, Replica, Transport};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Pid, SetAtEnd, Signal, wait_for, wait_until};
use postgres::Client;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const SESSIONS: i32 = 3;
/// Keys of a session: its own, so that none waits for another or takes its rows.
const KEYS: i32 = 500;
const SIGNALS: [Signal; 3] = [Signal::KILL, Signal::ABORT, Signal::SEGV];
/// Copies and table are held against each other after so many kills.
const STRETCH: u64 = 10;

const FOLLOWERS: [Transport; 6] = [
    Transport::Native(Form::Sse, Version::Http2),
    Transport::Native(Form::Sse, Version::Http1),
    Transport::Native(Form::Lines, Version::Http2),
    Transport::Cut,
    Transport::Document,
    Transport::Pages,
];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "what was done is what a long run is run for")]
fn a_server_killed_under_load_is_noticed_by_no_session_and_clients_resume_exactly() {
    let (kills, seed) = (number("KILLS", 20), number("KILLS_SEED", 1));
    let cluster = Cluster::options().conf("event_source.status_interval", "1s").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, n bigint NOT NULL);
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    let (worker, _) = cluster.serving();
    let mut random = SmallRng::seed_from_u64(seed);
    let quiet = Quiet::default();
    let access = Access { http: cluster.http(), sql: cluster.config() };
    let (mut committed, mut left) = (0, kills);
    let events = thread::scope(|scope| {
        let _end = quiet.ends_with_me();
        let followers: Vec<_> = (seed..)
            .zip(FOLLOWERS)
            .map(|(seed, transport)| {
                let (access, token) = (access.clone(), token.clone());
                let follower = Follower { access, transport, token, seed, breaks: true };
                let quiet = &quiet;
                scope.spawn(move || follow(follower, quiet))
            })
            .collect();
        while left > 0 {
            let stretch = left.min(STRETCH);
            left -= stretch;
            committed += beside_sessions(&cluster, &mut random, |random, committed| {
                for _ in 0..stretch {
                    kill(worker, random, committed);
                }
            });
            let _serving = cluster.serving();
            let tables = Tables::from([("t".to_owned(), rows(&mut client, "t"))]);
            quiet.compare(behind_everything(&mut client), tables, FOLLOWERS.len());
            let faults = quiet.faults();
            assert!(faults.is_empty(), "KILLS_SEED={seed}: {faults:#?}");
        }
        quiet.stop();
        followers.into_iter().map(|follower| follower.join().unwrap()).sum::<u64>()
    });
    assert_eq!(cluster.worker(), Some(worker), "KILLS_SEED={seed}: the worker ended");
    let query = "SELECT servers_started FROM event_source.status";
    let started: i64 = client.query_one(query, &[]).unwrap().get(0);
    assert!(started.unsigned_abs() > kills, "{started} servers for {kills} kills");
    println!(
        "KILLS_SEED={seed}: {kills} kills, {committed} transactions committed, {events} events seen"
    );
}

fn follow(follower: Follower, quiet: &Quiet) -> u64 {
    let name = follower.transport.name();
    let replica = Replica::new(follower.transport.shows(Identity::ID));
    let mut watcher = quiet.watcher("t", name);
    match follower.run(replica, &mut watcher) {
        Ok(replica) => replica.events,
        Err(disorder) => {
            quiet.fail("t", name, disorder);
            0
        }
    }
}

/// Kills the server at some moment of the load, and waits until there is another.
fn kill(worker: Pid, random: &mut SmallRng, committed: &AtomicU64) {
    let server = wait_for("a server", LONG, || worker.children().into_iter().next());
    let moment = committed.load(Relaxed) + random.random_range(1..300);
    wait_until("the moment to kill", LONG, || committed.load(Relaxed) >= moment);
    let signal = SIGNALS[random.random_range(0..SIGNALS.len())];
    // Again and again: Rust's handler takes the first SEGV for a fault that would come again by itself.
    wait_until("the server to end", LONG, || {
        server.signal(signal);
        !server.lives()
    });
}

/// Runs `meanwhile` beside sessions that write all the time, and that fail the test when one of them notices anything.
/// How much they committed.
fn beside_sessions(
    cluster: &Cluster,
    random: &mut SmallRng,
    meanwhile: impl FnOnce(&mut SmallRng, &AtomicU64),
) -> u64 {
    let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let (client, seed) = (cluster.connect(), random.random());
            let (stop, committed) = (&stop, &committed);
            scope.spawn(move || write(client, session, seed, stop, committed));
        }
        let _end = SetAtEnd(&stop);
        meanwhile(random, &committed);
    });
    committed.into_inner()
}

fn write(mut client: Client, session: i32, seed: u64, stop: &AtomicBool, committed: &AtomicU64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let first = session * KEYS;
    while !stop.load(Relaxed) {
        let key = first + random.random_range(0..KEYS - 10);
        let statement = match random.random_range(0..200) {
            0..120 => format!(
                "INSERT INTO t VALUES ({key}, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1"
            ),
            120..170 => format!("UPDATE t SET n = n + 1 WHERE id BETWEEN {key} AND {key} + 2"),
            170..199 => format!("DELETE FROM t WHERE id BETWEEN {key} AND {key} + 1"),
            _ => format!(
                "INSERT INTO t SELECT n, 0 FROM generate_series({first}, {first} + {KEYS} - 1) n
                 ON CONFLICT (id) DO UPDATE SET n = t.n + 1"
            ),
        };
        client.batch_execute(&statement).expect("no session notices anything");
        committed.fetch_add(1, Relaxed);
    }
}
