//! Logical replication beside us: a real publisher and a real subscriber. Rows that are replicated
//! are captured on both sides; nothing of the extension's own tables crosses over.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::follow::{mint, story};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;

fn cluster(options: event_source_tests::Options) -> Cluster {
    options.fresh().conf("event_source.listen", "").conf("wal_level", "logical").start()
}

/// A publisher of all tables with a captured table `t (id, v)`.
fn publisher() -> (Cluster, Client) {
    let cluster = cluster(Cluster::options());
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT event_source.capture('t');
             INSERT INTO t VALUES (1, 'copied'); CREATE PUBLICATION everything FOR ALL TABLES",
        )
        .unwrap();
    (cluster, client)
}

fn subscribe(publisher: &Cluster, subscriber: &mut Client, options: &str) {
    let statement = format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={} user=postgres dbname=app'
         PUBLICATION everything {options}",
        publisher.port()
    );
    subscriber.batch_execute(&statement).unwrap();
}

/// Waits until the subscriber has replayed all that the publisher has committed.
fn catch_up(publisher: &mut Client) {
    let end: String = publisher.query_one("SELECT pg_current_wal_lsn()::text", &[]).unwrap().get(0);
    let caught_up = format!(
        "SELECT coalesce(bool_and(replay_lsn >= '{end}'), false) FROM pg_stat_replication
         WHERE application_name = 's'"
    );
    wait_until("the subscriber to catch up", LONG, || {
        publisher.query_one(&caught_up, &[]).unwrap().get(0)
    });
}

fn number(client: &mut Client, query: &str) -> i64 {
    client.query_one(query, &[]).unwrap().get(0)
}

fn rows_of_the_log(client: &mut Client) -> i64 {
    (0..8)
        .map(|n| {
            number(
                client,
                &format!(
                    "SELECT (SELECT count(*) FROM event_source.stamp_{n})
                          + (SELECT count(*) FROM event_source.change_{n})"
                ),
            )
        })
        .sum()
}

#[test]
fn replicated_rows_are_captured_once_and_each_side_keeps_its_own_log_and_keys() {
    let (publisher, mut at_publisher) = publisher();
    let subscriber = cluster(Cluster::options());
    let mut at_subscriber = subscriber.connect();
    at_subscriber
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut at_subscriber, "event_source('t')");
    subscribe(&publisher, &mut at_subscriber, "");
    wait_until("all tables to be copied", LONG, || {
        let copied = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel";
        at_subscriber.query_one(copied, &[]).unwrap().get(0)
    });

    for transaction in [
        "UPDATE t SET v = 'changed' WHERE id = 1",
        "INSERT INTO t SELECT n, 'many' FROM generate_series(2, 500) n",
        "DELETE FROM t WHERE id > 2",
        "TRUNCATE t",
    ] {
        at_publisher.batch_execute(transaction).unwrap();
    }
    // The extension's own tables change on the publisher too.
    at_publisher
        .batch_execute(
            "CREATE TABLE u (id int PRIMARY KEY); SELECT event_source.capture('u');
             CREATE ROLE api; SELECT event_source.create_secret(role => 'api'); SELECT event_source.rotate_key();
             SELECT event_source.release('u')",
        )
        .unwrap();
    at_publisher.batch_execute("INSERT INTO t VALUES (9, 'last')").unwrap();
    catch_up(&mut at_publisher);

    let told = story(&mut at_subscriber, &token);
    assert_eq!(told[..2], ["add 1", "update 1"]);
    assert_eq!(told.iter().filter(|t| t.starts_with("add")).count(), 1 + 499 + 1);
    assert_eq!(told.iter().filter(|t| t.starts_with("remove")).count(), 498 + 2);
    assert_eq!(told.last().map(String::as_str), Some("add 9"));
    assert_eq!(number(&mut at_subscriber, "SELECT count(*) FROM event_source.signing_key"), 1);
    assert_eq!(number(&mut at_subscriber, "SELECT count(*) FROM event_source.secret"), 0);
    assert_eq!(number(&mut at_subscriber, "SELECT count(*) FROM event_source.capture"), 1);
    let histories =
        (0..8).map(|n| format!("SELECT substring(head FOR 8) FROM event_source.stamp_{n}"));
    let histories = histories.collect::<Vec<_>>().join(" UNION ");
    let histories = format!("SELECT count(*) FROM ({histories}) h");
    assert_eq!(number(&mut at_subscriber, &histories), 1, "stamps of the publisher came over");
}

#[test]
fn nothing_of_the_log_is_sent_to_a_subscriber_without_the_extension() {
    let (publisher, mut at_publisher) = publisher();
    let subscriber = cluster(Cluster::options().without_extension());
    subscriber.connect_to("postgres").batch_execute("CREATE DATABASE app").unwrap();
    let mut at_subscriber = subscriber.connect();
    at_subscriber.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text)").unwrap();
    // PostgreSQL wants every published table to be there; these would take in what is sent.
    let tables = at_publisher
        .query(
            "SELECT c.relname::text, string_agg(format('%I %s', a.attname, format_type(a.atttypid, -1)), ', ')
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
             WHERE c.relnamespace = 'event_source'::regnamespace AND c.relkind = 'r'
             GROUP BY c.relname",
            &[],
        )
        .unwrap();
    at_subscriber.batch_execute("CREATE SCHEMA event_source").unwrap();
    for table in tables {
        let (name, columns): (String, String) = (table.get(0), table.get(1));
        at_subscriber
            .batch_execute(&format!("CREATE TABLE event_source.{name} ({columns})"))
            .unwrap();
    }
    subscribe(&publisher, &mut at_subscriber, "WITH (copy_data = false)");
    at_publisher
        .batch_execute(
            "INSERT INTO t VALUES (2, 'small'); UPDATE t SET v = 'x';
             INSERT INTO t SELECT n, 'large' FROM generate_series(10, 2000) n; TRUNCATE t;
             INSERT INTO t VALUES (3, 'after')",
        )
        .unwrap();
    catch_up(&mut at_publisher);
    assert_eq!(number(&mut at_subscriber, "SELECT count(*) FROM t"), 1);
    assert_eq!(rows_of_the_log(&mut at_subscriber), 0);
    assert!(rows_of_the_log(&mut at_publisher) > 50);
}
