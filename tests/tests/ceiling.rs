//! What strangers, and a server that went wrong, can make the worker do or hold.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use event_source_door::frame;
use event_source_door::message::{self, Access, StartAt, ToWorker};
use event_source_tests::consume::{Failed, Feed, Request, Stream, Version, v10};
use event_source_tests::follow::mint;
use event_source_tests::memory::most;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, SetAtEnd, Signal, jwt, wait_until};
use serde_json::json;

const MB: u64 = 1 << 20;
/// Nobody waits longer for another.
const PATIENCE: Duration = Duration::from_millis(300);

/// The longest that a page of a good token took while the others did what they do.
fn slowest_page(cluster: &Cluster, token: &str, pages: u32) -> Duration {
    let mut feed = Feed::new(cluster.http(), Version::Http1).unwrap();
    let one = |_| {
        let begun = Instant::now();
        feed.page(token, None, &json!({})).unwrap();
        begun.elapsed()
    };
    (0..pages).map(one).max().unwrap()
}

#[test]
fn eight_who_give_no_credential_and_ask_much_are_not_in_the_way_of_a_page() {
    let cluster = Cluster::options().conf("event_source.anonymous_role", "anybody").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE ROLE anybody; CREATE TABLE big (id int PRIMARY KEY, v int, t text);
             INSERT INTO big SELECT n, n, repeat('x', 200) FROM generate_series(1, 100000) n;
             GRANT SELECT ON big TO anybody;
             CREATE TABLE good (id int PRIMARY KEY); SELECT event_source.capture('big');
             SELECT event_source.capture('good'); INSERT INTO good VALUES (1)",
        )
        .unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('good')");
    let tests: Vec<String> = (0..60).map(|n| format!(".v + {n} == -1")).collect();
    let query = format!("big.where({}).first()", tests.join(" || "));
    // What one of them takes when nobody else asks, on this machine.
    let alone = (0..5).map(|_| {
        let begun = Instant::now();
        let _ = v10::query_with(cluster.http(), Version::Http1, &[], &query);
        begun.elapsed()
    });
    let alone = alone.max().unwrap();
    let (is_over, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let slowest = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = v10::query_with(cluster.http(), Version::Http1, &[], &query);
                    assert!(!matches!(&answer, Err(Failed::Connection(_))), "{answer:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let ends = SetAtEnd(&is_over);
        wait_until("all to ask", LONG, || asked.load(Ordering::Relaxed) >= 8);
        let slowest = slowest_page(&cluster, &token, 30);
        drop(ends);
        slowest
    });
    // It waits for the one that is being answered, and on a busy machine for its turn of the processor.
    let most = PATIENCE.max(3 * alone);
    assert!(slowest < most, "a page took {slowest:?}, where a query alone takes {alone:?}");
}

#[test]
fn bad_tokens_without_end_are_not_in_the_way_of_a_page() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE good (id int PRIMARY KEY); SELECT event_source.capture('good')",
        )
        .unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('good')");
    let (is_over, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let slowest = thread::scope(|scope| {
        for number in 0..8 {
            let (cluster, token, is_over, asked) = (&cluster, &token, &is_over, &asked);
            scope.spawn(move || {
                let mut feed = Feed::new(cluster.http(), Version::Http1).unwrap();
                let mut at = number;
                while !is_over.load(Ordering::Relaxed) {
                    at += 8;
                    // Of the right form, and signed by nobody.
                    let end = token.len() - 6;
                    let forged = format!("{}{:06}", &token[..end], at % 1_000_000);
                    let refused = feed.page(&forged, None, &json!({})).unwrap_err();
                    assert_eq!(refused.code(), Some("unauthorized"));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let ends = SetAtEnd(&is_over);
        wait_until("all to ask", LONG, || asked.load(Ordering::Relaxed) >= 100);
        let slowest = slowest_page(&cluster, &token, 100);
        drop(ends);
        slowest
    });
    assert!(slowest < PATIENCE, "a page took {slowest:?}");
}

#[test]
fn bad_jwts_never_reach_the_worker() {
    let cluster = Cluster::options()
        .conf("event_source.jwt_key_file", jwt::KEY_FILE)
        .conf("event_source.jwt_parent_role", "parent")
        .start();
    jwt::put_key(&cluster, jwt::P256_PUBLIC);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t');
             CREATE ROLE parent; CREATE ROLE reader; GRANT reader TO parent;
             GRANT SELECT ON t TO reader",
        )
        .unwrap();
    let (worker, _) = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    let asked = |credential: &str| {
        let mut request = Request::new(&*token);
        request.secret = Some(credential.to_owned());
        Stream::open(cluster.http(), &request).map(drop)
    };
    let good = jwt::by_p256(&jwt::claims("reader", 600));
    // The worker reads the key at the first, and tells.
    asked(&good).unwrap();
    let claims = jwt::claims("reader", 600);
    let bad = [
        format!("{}AAAA", &good[..good.len() - 4]),
        jwt::by_secret(&claims),
        jwt::by_p256(&jwt::claims("reader", 0)),
        "a.b.c".to_owned(),
    ];
    let refused = |credential: &str| {
        let refusal = asked(credential).unwrap_err();
        assert_eq!(refusal.code(), Some("unauthorized"), "{credential}");
    };
    wait_until("the server to know the key", LONG, || {
        let before = worker.worked().unwrap();
        (0..200).for_each(|_| bad.iter().for_each(|bad| refused(bad)));
        // An idle worker looks around once a second.
        worker.worked().unwrap() - before <= 2
    });
    asked(&good).unwrap();
}

#[test]
fn a_row_that_the_server_has_no_memory_for_ends_its_streams_and_nothing_else() {
    let cluster = Cluster::options().conf("event_source.server_memory", "64MB").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT event_source.capture('t');
             CREATE TABLE good (id int PRIMARY KEY); SELECT event_source.capture('good')",
        )
        .unwrap();
    let (_, server) = cluster.serving();
    let (token, good) =
        (mint(&mut client, "event_source('t')"), mint(&mut client, "event_source('good')"));
    let mut live = Stream::open(cluster.http(), &Request::new(&*token)).unwrap();
    let mut beside = Stream::open(cluster.http(), &Request::new(good)).unwrap();
    live.next(LONG).unwrap();
    beside.next(LONG).unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, repeat('x', 30000000))").unwrap();
    let ended = loop {
        match live.next(LONG) {
            Ok(Some(event)) if event.error.is_none() => {}
            other => break other,
        }
    };
    let error = ended.unwrap().unwrap().error.unwrap();
    assert_eq!(error.code, "limit_exceeded");
    // From the log it is told as well, in a page too.
    let mut feed = Feed::new(cluster.http(), Version::Http1).unwrap();
    let refused = feed.page(&token, None, &json!({})).unwrap_err();
    assert_eq!(refused.code(), Some("limit_exceeded"));
    client.batch_execute("INSERT INTO good VALUES (1)").unwrap();
    assert_eq!(beside.next_change(LONG).key, Some(1.into()));
    assert_eq!(cluster.server(), Some(server), "it was not started anew");
}

/// A cluster with a program in the place of the server that says hello, and then does this with its end of the door.
fn with_hostile(script: &str, flood: &[u8]) -> Cluster {
    let cluster = Cluster::options().own_installation().start();
    let (_, server) = cluster.serving();
    let executable = cluster.pkglibdir().join("event_source_server");
    let hello = ToWorker::Hello {
        protocol: message::PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut bytes = Vec::new();
    frame::push(&mut bytes, &hello).unwrap();
    let (greeting, more) = (executable.with_extension("hello"), executable.with_extension("more"));
    std::fs::write(&greeting, bytes).unwrap();
    std::fs::write(&more, flood).unwrap();
    let text =
        format!("#!/bin/sh\ncat {} >&0\nmore={}\n{script}\n", greeting.display(), more.display());
    std::fs::remove_file(&executable).unwrap();
    std::fs::write(&executable, text).unwrap();
    std::fs::set_permissions(&executable, Permissions::from_mode(0o755)).unwrap();
    server.signal(Signal::KILL);
    cluster
}

#[test]
fn a_flood_of_requests_waits_in_the_door_and_not_in_the_worker() {
    let mut flood = Vec::new();
    for request in 0..2_000 {
        let token = format!("est_{}", "A".repeat(4_000));
        let access = Access { token, secret: Some("ess_".repeat(500)) };
        let (start, first) = (StartAt::Cursor("c".repeat(4_000)), None);
        let open = ToWorker::Open { request, access, start, before_token: true, first };
        frame::push(&mut flood, &open).unwrap();
    }
    let cluster = with_hostile("while :; do cat $more >&0; done", &flood);
    let mut worker = None;
    wait_until("the worker to serve it", LONG, || {
        worker = cluster.worker();
        worker.is_some_and(|worker| !worker.children().is_empty())
    });
    let worker = worker.unwrap();
    // Some thousands of requests are answered meanwhile.
    let begun = worker.worked().unwrap();
    let ([held], ()) = most([worker], || {
        wait_until("the worker to answer many", LONG, || worker.worked().unwrap() > begun + 200);
    });
    assert!(held < 160 * MB, "the worker holds {} MB", held / MB);
    // A session notices nothing.
    cluster.connect().batch_execute("SELECT 1").unwrap();
    assert!(worker.lives());
}

#[test]
fn a_server_that_does_not_end_a_message_is_given_up() {
    let cluster = with_hostile("printf '\\000\\020' >&0\nsleep 1000", b"");
    wait_until("the log to say so", LONG, || {
        cluster.log().contains("it began a message and did not end it")
    });
    cluster.connect().batch_execute("SELECT 1").unwrap();
}
