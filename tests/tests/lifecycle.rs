//! Worker and server: killed, stopped, reconfigured, and what SQL sessions and clients notice.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::time::{Duration, Instant};

use event_source_tests::consume::{Failed, Request, Stream};
use event_source_tests::follow::mint;
use event_source_tests::resume::{beside_a_writer, changed, keys_of_t, resumes_exactly};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Pid, Signal, Stop, wait_until};
use postgres::{Client, NoTls};

const SECOND: Duration = Duration::from_secs(1);
/// A server that lived shorter than half a second is not started again at once.
const SHORT_LIFE: Duration = Duration::from_millis(600);

fn served() -> (Cluster, Client, String) {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    let _ = cluster.serving();
    (cluster, client, token)
}

#[test]
fn a_server_killed_by_any_signal_is_back_within_a_second_and_no_session_notices() {
    let (cluster, _client, token) = served();
    let worker = cluster.worker().unwrap();
    resumes_exactly(&cluster, &token, |cluster| {
        for signals in [
            &[Signal::KILL][..],
            &[Signal::TERM],
            &[Signal::INT],
            &[Signal::QUIT],
            &[Signal::HUP],
            &[Signal::SEGV],
            &[Signal::ABORT],
            &[Signal::BUS],
            &[Signal::STOP, Signal::KILL],
        ] {
            let (_, server) = cluster.serving();
            let serves = Instant::now();
            wait_until("it to be no young one", LONG, || serves.elapsed() > SHORT_LIFE);
            let written = beside_a_writer(cluster, || {
                // Again and again: Rust's own handler takes the first SEGV or BUS that is sent
                // from outside for a fault, which would come again by itself.
                wait_until("the server to end", LONG, || {
                    signals.iter().for_each(|&signal| server.signal(signal));
                    !server.lives()
                });
                let back = wait_until("the server to be back", LONG, || cluster.healthy());
                // Seen: 0.1 s.
                assert!(back < SECOND, "{signals:?}: {back:?}");
            });
            assert!(written > 10);
            assert_eq!(cluster.worker(), Some(worker), "{signals:?} reached the worker");
        }
        // A server that dies young may die again: it is not started again at once, but it is.
        let (_, server) = cluster.serving();
        server.signal(Signal::KILL);
        wait_until("the young server to end", LONG, || !server.lives());
        let (same, _) = cluster.serving();
        assert_eq!(same, worker);
    });
}

#[test]
fn a_terminated_worker_comes_back_by_itself() {
    let (cluster, mut client, token) = served();
    resumes_exactly(&cluster, &token, |cluster| {
        let (worker, server) = cluster.serving();
        beside_a_writer(cluster, || {
            client.execute("SELECT pg_terminate_backend($1)", &[&worker.0]).unwrap();
            let back = wait_until("worker and server to be back", LONG, || {
                cluster.worker().is_some_and(|now| now != worker) && cluster.healthy()
            });
            // Seen: 1.0 s, after which the launcher starts a worker again that died young.
            assert!(back < 10 * SECOND, "{back:?}");
        });
        assert!(!worker.lives() && !server.lives());
    });
}

#[test]
fn clients_resume_exactly_when_the_worker_is_killed_and_everything_restarts() {
    let (cluster, _client, token) = served();
    resumes_exactly(&cluster, &token, |cluster| {
        let mut writer = cluster.connect();
        writer.batch_execute("INSERT INTO t (v) SELECT 1 FROM generate_series(1, 50)").unwrap();
        let (worker, server) = cluster.serving();
        worker.signal(Signal::KILL);
        wait_until("the server to end with its worker", LONG, || !server.lives());
        wait_until("PostgreSQL to have thrown everybody out", LONG, || {
            writer.simple_query("").is_err()
        });
        wait_until("PostgreSQL to take connections again", LONG, || {
            cluster.config().connect(NoTls).is_ok()
        });
        let _ = cluster.serving();
        let mut writer = cluster.connect();
        writer.batch_execute("INSERT INTO t (v) SELECT 1 FROM generate_series(1, 50)").unwrap();
    });
}

#[test]
fn clients_resume_exactly_after_an_immediate_shutdown_and_after_a_crash() {
    let (mut cluster, mut client, token) = served();
    let (mut keys, mut cursor) = (Vec::new(), None);
    for (round, cut_at) in [13, 33, 53, 60].into_iter().enumerate() {
        if round < 3 {
            let twenty = "INSERT INTO t (v) SELECT 1 FROM generate_series(1, 20)";
            client.batch_execute(twenty).unwrap();
        }
        let request = Request::new(&token).after(cursor.clone());
        let mut stream = Stream::open(cluster.http(), &request).unwrap();
        // Cut in the middle of a transaction: what was read does not come again, the rest does.
        while keys.len() < cut_at {
            let event = stream.next(LONG).unwrap().unwrap();
            keys.extend(changed(&event));
            cursor = event.cursor.or(cursor);
        }
        drop(client);
        match round {
            0 => cluster.restart(Stop::Immediate),
            1 => {
                cluster.kill();
                cluster.launch();
            }
            _ => cluster.restart(Stop::Fast),
        }
        let _ = cluster.serving();
        client = cluster.connect();
    }
    assert_eq!(keys, keys_of_t(&cluster));
}

#[test]
fn a_fast_stop_under_a_hundred_open_streams_takes_less_than_a_second() {
    let (mut cluster, mut client, token) = served();
    client.batch_execute("INSERT INTO t (v) VALUES (1)").unwrap();
    let mut streams: Vec<Stream> =
        (0..100).map(|_| Stream::open(cluster.http(), &Request::new(&token)).unwrap()).collect();
    for stream in &mut streams {
        while !stream.next(LONG).unwrap().unwrap().kind.is_change() {}
    }
    // The disk's part of a stop is not ours: what the last checkpoint has to write.
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    let postmaster = cluster.postmaster();
    let mut processes = postmaster.descendants();
    processes.push(postmaster);
    let took = cluster.stop(Stop::Fast);
    // Seen: 0.1 s.
    assert!(took < SECOND, "{took:?}");
    let left: Vec<&Pid> = processes.iter().filter(|pid| pid.lives()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    for stream in &mut streams {
        // The end is said or the connection broken, but never a silent wait.
        loop {
            match stream.next(SECOND) {
                Ok(Some(_)) => {}
                Ok(None) | Err(Failed::Http(_) | Failed::Malformed(_)) => break,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_stuck_server_does_not_hold_up_a_stop() {
    let (mut cluster, mut client, _) = served();
    let (_, server) = cluster.serving();
    // The disk's part of a stop is not ours: what the last checkpoint has to write.
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    server.signal(Signal::STOP);
    let took = cluster.stop(Stop::Fast);
    // Seen: 0.7 s, of which the worker gives the server 0.6 to say goodbye. PostgreSQL would wait for a minute.
    assert!(took < 7 * SECOND, "{took:?}");
    assert!(!server.lives());
}

#[test]
fn a_killed_postmaster_takes_worker_and_server_with_it() {
    let (cluster, client, _) = served();
    let (worker, server) = cluster.serving();
    drop(client);
    cluster.postmaster().signal(Signal::KILL);
    wait_until("both to end", LONG, || !worker.lives() && !server.lives());
}

#[test]
fn the_status_counts_the_open_streams() {
    let (cluster, mut client, token) = served();
    let count = |client: &mut Client| -> i32 {
        client.query_one("SELECT streams FROM event_source.status", &[]).unwrap().get(0)
    };
    assert_eq!(count(&mut client), 0);
    let stream = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    wait_until("the stream to be counted", LONG, || count(&mut client) == 1);
    drop(stream);
    wait_until("the stream to be forgotten", LONG, || count(&mut client) == 0);
}

#[test]
fn the_worker_appears_in_activity_and_its_queries_not_in_anybodys_way() {
    let (cluster, mut client, _) = served();
    let row = client
        .query_one(
            "SELECT application_name, state, xact_start IS NULL OR state <> 'idle in transaction'
             FROM pg_stat_activity WHERE backend_type = 'event_source worker'",
            &[],
        )
        .unwrap();
    assert!(row.get::<_, String>(0).contains(&cluster.http().to_string()));
    // An open transaction of the worker would hold VACUUM back for everyone.
    client.batch_execute("CREATE INDEX CONCURRENTLY ON t (v)").unwrap();
    wait_until("the worker to hold no snapshot", LONG, || {
        client
            .query_one(
                "SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity
                 WHERE backend_type = 'event_source worker'",
                &[],
            )
            .unwrap()
            .get::<_, bool>(0)
    });
}

#[test]
fn it_works_beside_another_preloaded_library_and_leaves_no_statements_there() {
    let cluster = Cluster::options()
        .conf("shared_preload_libraries", "event_source, pg_stat_statements")
        .start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int PRIMARY KEY);
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    let mut stream = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    client.batch_execute("SELECT pg_stat_statements_reset()").unwrap();
    for id in 0..20 {
        client.execute("INSERT INTO t VALUES ($1)", &[&id]).unwrap();
    }
    let mut seen = 0;
    while seen < 20 {
        seen += usize::from(stream.next(LONG).unwrap().unwrap().kind.is_change());
    }
    let row = client
        .query_one(
            "SELECT string_agg(query, E'\\n') FROM pg_stat_statements
             WHERE query ~ 'event_source' AND query !~ 'pg_stat_statements'",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Option<String>>(0), None);
}
