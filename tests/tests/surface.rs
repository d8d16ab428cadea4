//! What the server offers to whom: the settings, from the configuration file to the answer.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use event_source_tests::follow::mint;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;
use serde_json::Value;

/// The status and the body of the answer to a GET, on a connection of its own; 0 when it was closed.
fn get(address: SocketAddr, path: &str, host: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let read =
        socket.write_all(request.as_bytes()).and_then(|()| socket.read_to_string(&mut answer));
    if read.is_err() {
        return (0, Value::Null);
    }
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn status(cluster: &Cluster, path: &str) -> u16 {
    get(cluster.http(), path, "127.0.0.1").0
}

fn served(settings: &[(&str, &str)]) -> (Cluster, Client) {
    let mut options = Cluster::options();
    for (name, value) in settings {
        options = options.conf(name, value);
    }
    let cluster = options.start();
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t')")
        .unwrap();
    let _ = cluster.serving();
    (cluster, client)
}

fn shown(client: &mut Client, setting: &str) -> String {
    client.query_one("SELECT current_setting($1)", &[&setting]).unwrap().get(0)
}

#[test]
fn what_is_served_is_checked_when_it_is_set_and_counts_from_the_reload_on() {
    let (cluster, mut client) = served(&[("event_source.protocols", "native, fauna")]);
    let default = "SELECT boot_val FROM pg_settings WHERE name = 'event_source.protocols'";
    assert_eq!(client.query_one(default, &[]).unwrap().get::<_, &str>(0), "native, fauna");
    let (code, off) = get(cluster.http(), "/ping", "127.0.0.1");
    assert_eq!(code, 404);
    assert!(off["error"]["hint"].as_str().unwrap().contains("event_source.protocols"), "{off}");
    assert_eq!(status(&cluster, "/v1/feed"), 401);

    let unknown = client.batch_execute("ALTER SYSTEM SET event_source.protocols = 'native, faun'");
    let unknown = unknown.unwrap_err();
    let unknown = unknown.as_db_error().unwrap();
    assert_eq!(unknown.code().code(), "22023");
    let detail = unknown.detail().unwrap();
    assert!(
        detail.contains("\"faun\" is not a protocol") && detail.contains("directus"),
        "{detail}"
    );

    client.batch_execute("ALTER SYSTEM SET event_source.protocols = 'fauna_v4'").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the other protocol to be served", LONG, || status(&cluster, "/ping") == 200);
    assert_eq!(status(&cluster, "/v1/feed"), 404);

    // In the file a bad value is logged, and the one before stays.
    client.batch_execute("ALTER SYSTEM RESET ALL").unwrap();
    cluster.set("event_source.protocols", "nothing of ours");
    cluster.set("event_source.max_headers", "99");
    cluster.reload();
    wait_until("the file to be read", LONG, || {
        shown(&mut client, "event_source.max_headers") == "99"
    });
    assert_eq!(shown(&mut client, "event_source.protocols"), "fauna_v4");
    assert_eq!(status(&cluster, "/ping"), 200);
}

#[test]
fn names_are_checked_when_they_are_set_and_a_role_for_everybody_wants_them_listed() {
    let (cluster, mut client) = served(&[]);
    let ask = |host: &str| get(cluster.http(), "/v1/feed", host).0;
    assert_eq!((ask("events.example.com"), ask("127.0.0.1")), (401, 401));
    client.batch_execute("CREATE ROLE anybody").unwrap();
    cluster.set("event_source.anonymous_role", "anybody");
    cluster.reload();
    wait_until("the role to count", LONG, || ask("events.example.com") == 421);
    assert_eq!((ask("127.0.0.1"), ask("localhost")), (401, 401));
    let (_, refused) = get(cluster.http(), "/v1/feed", "events.example.com");
    let hint = refused["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("event_source.allowed_hosts"), "{refused}");
    cluster.set("event_source.allowed_hosts", "*.example.com");
    cluster.reload();
    wait_until("the name to count", LONG, || ask("events.example.com") == 401);
    assert_eq!(ask("evil.example"), 421);
    let scheme = "ALTER SYSTEM SET event_source.allowed_hosts = 'https://events.example.com'";
    let scheme = client.batch_execute(scheme).unwrap_err();
    let detail = scheme.as_db_error().unwrap().detail().unwrap().to_owned();
    assert!(detail.contains("without a scheme"), "{detail}");
}

#[test]
fn health_checks_are_answered_when_all_places_are_taken() {
    let (cluster, mut client) = served(&[("event_source.max_clients", "2")]);
    let token = mint(&mut client, "event_source('t')");
    let hold = || {
        let mut socket = TcpStream::connect(cluster.http()).unwrap();
        let request = format!("GET /v1/stream?token={token} HTTP/1.1\r\nhost: x\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        socket
    };
    let held = [hold(), hold()];
    let (code, refused) = get(cluster.http(), "/v1/feed", "127.0.0.1");
    assert_eq!((code, &refused["error"]["code"]), (429, &"limit_exceeded".into()));
    assert_eq!(status(&cluster, "/health"), 200);
    assert_eq!(status(&cluster, "/ready"), 200);
    drop(held);
    wait_until("there is room again", LONG, || status(&cluster, "/v1/feed") == 401);
}

#[test]
fn each_limit_is_a_setting_that_counts_from_the_reload_on() {
    let (cluster, _client) = served(&[]);
    assert_eq!(status(&cluster, "/v1/feed"), 401);
    cluster.set("event_source.max_requests_per_second", "1");
    cluster.reload();
    wait_until("the limit to count", LONG, || status(&cluster, "/v1/feed") == 429);
    assert_eq!(status(&cluster, "/health"), 200);
    cluster.set("event_source.max_requests_per_second", "-1");
    cluster.set("event_source.head_timeout", "100ms");
    cluster.reload();
    wait_until("a silent connection to be closed at once", LONG, || {
        let mut socket = TcpStream::connect(cluster.http()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.write_all(b"P").unwrap();
        matches!(socket.read(&mut [0]), Ok(0))
    });
}

#[test]
fn refusals_are_logged_with_their_reason_and_address_and_without_what_was_given() {
    let (cluster, _client) = served(&[("event_source.protocols", "native")]);
    for n in 0..200 {
        let path = format!("/v1/feed?token=est_hidden{n}");
        assert_eq!(status(&cluster, &path), 401);
        assert_eq!(status(&cluster, "/api/hidden/change-stream?access_token=ess_hidden"), 404);
    }
    let log = cluster.log();
    let unauthorized = "refused GET /v1/feed of 127.0.0.1: 401 unauthorized";
    let off = "refused GET /api/{plural}/change-stream of 127.0.0.1: 404, event_source.protocols";
    for line in [unauthorized, off] {
        let count = log.matches(line).count();
        // Those of one minute, or of two.
        assert!((10..=20).contains(&count), "{count} times {line}");
    }
    assert!(!log.contains("hidden"), "what was given is in the log");
}
