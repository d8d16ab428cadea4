//! Two-phase commit by an apply worker of logical replication: a real publisher, a real subscriber
//! with `two_phase`, and the events of the subscriber.

use event_source_tests::follow::story;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;

use super::race::{LIMIT, NoStamps, ROW, running, wait_for_lock};
use super::{assert_exact, captured, commit, prepare, roll_back, with_table};

/// A publisher of `t` and a subscriber that has captured it, with the subscriber's token.
struct Replicated {
    publisher: Cluster,
    source: Client,
    subscriber: Cluster,
    client: Client,
    token: String,
}

fn replicated() -> Replicated {
    let publisher = Cluster::options()
        .fresh()
        .conf("event_source.listen", "")
        .conf("max_prepared_transactions", 20)
        .conf("wal_level", "logical")
        .start();
    let mut source = publisher.connect();
    source
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL);
             INSERT INTO t SELECT n, 0 FROM generate_series(1, 10) n;
             SELECT event_source.capture('t'); CREATE PUBLICATION p FOR TABLE t",
        )
        .unwrap();
    let (subscriber, mut client, token) = captured();
    client
        .batch_execute(&format!(
            "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={} user=postgres dbname=app'
             PUBLICATION p WITH (two_phase = true, copy_data = false)",
            publisher.port()
        ))
        .unwrap();
    wait_until("the subscription to take prepared transactions", LIMIT, || {
        let row = client.query_one("SELECT subtwophasestate FROM pg_subscription", &[]).unwrap();
        row.get::<_, i8>(0) as u8 == b'e'
    });
    Replicated { publisher, source, subscriber, client, token }
}

#[test]
fn a_publication_for_all_tables_does_not_hear_of_the_bookkeeping() {
    let cluster = Cluster::options()
        .fresh()
        .conf("event_source.listen", "")
        .conf("max_prepared_transactions", 20)
        .conf("wal_level", "logical")
        .start();
    let (mut client, token) = with_table(&cluster);
    client.batch_execute("CREATE PUBLICATION everything FOR ALL TABLES").unwrap();
    client.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')", &[]).unwrap();
    prepare(&mut client, "p", "UPDATE t SET v = 1");
    commit(&mut client, "p");
    assert_eq!(assert_exact(&mut client, &token), 20);
    let messages = client
        .query(
            "SELECT data FROM pg_logical_slot_get_binary_changes(
                 's', NULL, NULL, 'proto_version', '1', 'publication_names', 'everything')",
            &[],
        )
        .unwrap();
    let names = |schema: &[u8]| {
        let messages = messages.iter().map(|row| row.get::<_, &[u8]>(0));
        messages.filter(|data| data.windows(schema.len()).any(|part| part == schema)).count()
    };
    assert_eq!((names(b"public"), names(b"event_source")), (1, 0));
}

fn wait_for_prepared(client: &mut Client, count: i64) {
    wait_until(&format!("{count} prepared transactions"), LIMIT, || {
        let row = client.query_one("SELECT count(*) FROM pg_prepared_xacts", &[]).unwrap();
        row.get::<_, i64>(0) == count
    });
}

#[test]
fn what_an_apply_worker_prepares_and_commits_is_told_behind_and_before_its_neighbours() {
    let Replicated { publisher, mut source, subscriber, mut client, token } = replicated();
    prepare(&mut source, "kept", "UPDATE t SET v = 1 WHERE id = 1");
    prepare(&mut source, "dropped", "UPDATE t SET v = 1 WHERE id = 2");
    wait_for_prepared(&mut client, 2);
    assert_eq!(story(&mut client, &token).len(), 10, "told while it is only prepared");
    // A writer of the subscriber's own queues on the row.
    let queued = running(&subscriber, "queued", "UPDATE t SET v = v + 10 WHERE id = 1");
    wait_for_lock(&mut client, "queued", ROW);
    commit(&mut source, "kept");
    roll_back(&mut source, "dropped");
    queued.join().unwrap().unwrap();
    wait_for_prepared(&mut client, 0);
    assert_eq!(story(&mut client, &token)[10..], ["update 1", "update 1"]);
    assert_exact(&mut client, &token);

    // With nobody else about, the apply worker itself writes the stamp.
    prepare(&mut source, "alone", "UPDATE t SET v = 5 WHERE id = 3");
    commit(&mut source, "alone");
    wait_until("the apply worker to write the stamp", LIMIT, || {
        story(&mut client, &token).len() == 13
    });
    assert_exact(&mut client, &token);

    // It is ended in between, and started again: its next transaction makes up for it.
    let no_stamps = NoStamps::hold(&subscriber);
    prepare(&mut source, "cut", "UPDATE t SET v = 6 WHERE id = 4");
    commit(&mut source, "cut");
    wait_until("the apply worker to wait", LIMIT, || {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   -- with 'apply' in it since 16
                   WHERE backend_type LIKE 'logical replication %worker' AND wait_event_type = 'Lock'";
        !client.query(sql, &[]).unwrap().is_empty()
    });
    no_stamps.release();
    source.batch_execute("UPDATE t SET v = v + 1 WHERE id = 4").unwrap();
    wait_until("both to be told", LIMIT, || story(&mut client, &token).len() == 15);
    assert_eq!(story(&mut client, &token)[13..], ["update 4", "update 4"]);
    assert_exact(&mut client, &token);
    client.batch_execute("DROP SUBSCRIPTION s").unwrap();
    drop((source, publisher));
}
