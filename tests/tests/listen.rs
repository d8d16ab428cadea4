//! `event_source.listen`: workers come and go with databases, extensions and reloads.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use event_source_tests::cluster::DATABASE;
use event_source_tests::consume::{Kind, Request, Stream};
use event_source_tests::follow::{mint, refused};
use event_source_tests::ground::free_port;
use event_source_tests::processes::workers;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, health, wait_for, wait_until};
use postgres::Client;

fn served() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t')")
        .unwrap();
    let _ = cluster.serving();
    (cluster, client)
}

#[test]
fn other_databases_can_be_dropped_beside_the_worker_and_its_own_as_postgres_does_it() {
    let (cluster, mut client) = served();
    client.batch_execute("CREATE DATABASE other").unwrap();
    client.batch_execute("SET statement_timeout = '20s'").unwrap();
    client.batch_execute("DROP DATABASE other").unwrap();
    // Its own database it holds like any session does.
    let mut elsewhere = cluster.connect_to("postgres");
    drop(client);
    let said = refused(elsewhere.batch_execute(&format!("DROP DATABASE {DATABASE}")));
    assert_eq!(said.code, "55006");
    elsewhere.batch_execute(&format!("DROP DATABASE {DATABASE} WITH (FORCE)")).unwrap();
    wait_until("the port to be closed", LONG, || health(cluster.http()).is_err());
}

#[test]
fn the_worker_comes_when_the_database_and_the_extension_come() {
    let cluster = Cluster::options().without_extension().start();
    let mut client = cluster.connect_to("postgres");
    client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).unwrap();
    let mut client = cluster.connect();
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").unwrap();
    client.batch_execute("CREATE EXTENSION event_source").unwrap();
    client.batch_execute("SELECT event_source.capture('t')").unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    let mut stream = Stream::open(cluster.http(), &Request::new(&token)).unwrap();
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    wait_for("the event", LONG, || {
        stream.next(LONG).unwrap().unwrap().kind.is_change().then_some(())
    });
    client.batch_execute("DROP EXTENSION event_source CASCADE").unwrap();
    // Its end is said, or the connection broken: never a silent wait.
    wait_until(
        "the stream to end",
        LONG,
        || !matches!(stream.next(LONG), Ok(Some(event)) if event.kind != Kind::Error),
    );
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    client
        .batch_execute("CREATE EXTENSION event_source; SELECT event_source.capture('t')")
        .unwrap();
    let _ = cluster.serving();
    let token = mint(&mut client, "event_source('t')");
    let mut stream = wait_for("a stream again", LONG, || {
        Stream::open(cluster.http(), &Request::new(&token)).ok()
    });
    client.batch_execute("INSERT INTO t VALUES (3)").unwrap();
    let event = wait_for("the event", LONG, || {
        stream.next(LONG).unwrap().filter(|event| event.kind.is_change())
    });
    assert_eq!(event.key, Some(serde_json::json!(3)));
}

#[test]
fn a_reload_of_listen_starts_and_stops_workers() {
    let (cluster, mut client) = served();
    client.batch_execute("CREATE DATABASE \"second one\"").unwrap();
    cluster.connect_to("second one").batch_execute("CREATE EXTENSION event_source").unwrap();
    let spare = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let first = format!("{DATABASE}={}", cluster.http());
    let (worker, _) = cluster.serving();

    cluster.set("event_source.listen", &format!("{first}, \"second one\"={spare}"));
    cluster.reload();
    wait_until("the second worker", LONG, || health(spare).is_ok_and(|s| s == 200));
    let seen = workers(&mut client);
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter().any(|(_, database, address)| database == "second one"
            && address.contains(&spare.to_string())),
        "{seen:?}"
    );
    assert_eq!(cluster.worker(), Some(worker), "the first was left alone");

    cluster.set("event_source.listen", &first);
    cluster.reload();
    wait_until("the second worker to stop", LONG, || workers(&mut client).len() == 1);
    assert!(health(spare).is_err());

    cluster.set("event_source.listen", &format!("{DATABASE}={spare}"));
    cluster.reload();
    wait_until("the worker at its new address", LONG, || health(spare).is_ok_and(|s| s == 200));
    assert!(health(cluster.http()).is_err());

    cluster.set("event_source.listen", "");
    cluster.reload();
    wait_until("no worker", LONG, || workers(&mut client).is_empty());
}

#[test]
fn a_nonsensical_listen_is_refused_and_the_old_one_stays() {
    let (cluster, mut client) = served();
    cluster.set("event_source.listen", "app=nowhere:port");
    cluster.reload();
    wait_until("the log to say so", LONG, || {
        cluster.log().contains("invalid value for parameter \"event_source.listen\"")
    });
    assert!(cluster.healthy());
    assert_eq!(workers(&mut client).len(), 1);
}

#[test]
fn a_port_in_use_is_said_and_tried_again() {
    let (cluster, mut client) = served();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    cluster.set("event_source.listen", &format!("{DATABASE}={address}"));
    cluster.reload();
    wait_until("the log to say so", LONG, || {
        cluster.log().lines().any(|l| l.contains(&address.to_string()) && l.contains("in use"))
    });
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    drop(taken);
    wait_until("the worker to get its port", LONG, || health(address).is_ok_and(|s| s == 200));
}
