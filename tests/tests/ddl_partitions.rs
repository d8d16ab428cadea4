//! What no trigger sees of a partitioned table: partitions that are dropped, detached or attached
//! with rows in them. Its rows come and go with events all the same.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::follow::{self, drain, refused, sorted, story};
use event_source_tests::wait::LONG;
use event_source_tests::wait_until;
use postgres::Client;
use serde_json::json;

/// A captured table `p (id, v)` with partitions `p_0` to `p_2`, ten keys in each, one row in each.
fn captured() -> (Cluster, Client, String) {
    follow::captured(
        "p",
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE p_0 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (10) TO (20);
         CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (20) TO (30);
         INSERT INTO p VALUES (1, 'one'), (11, 'eleven'), (21, 'twenty-one')",
    )
}

#[test]
fn a_dropped_partition_takes_its_rows_out_of_the_collection() {
    let (_cluster, mut client, token) = captured();
    client.batch_execute("DROP TABLE p_1").unwrap();
    client.batch_execute("INSERT INTO p VALUES (2, 'two')").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["remove 11", "add 2"]);
    assert_eq!(events[0].data, Some(json!({"id": 11, "v": "eleven"})));
}

#[test]
fn rows_of_a_dropped_partition_are_whole_though_their_toast_goes_first() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "ALTER TABLE p_1 ALTER v SET STORAGE EXTERNAL;
             INSERT INTO p VALUES (12, repeat('x', 100000))",
        )
        .unwrap();
    client.batch_execute("DROP TABLE p_1").unwrap();
    let removed = drain(&mut client, &token, None).pop().unwrap();
    let shown = removed.data.unwrap();
    assert_eq!(shown["v"].as_str().map(str::len), Some(100_000));
}

#[test]
fn a_drop_that_is_rolled_back_removes_nothing() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "BEGIN; SAVEPOINT s; DROP TABLE p_1; ROLLBACK TO s; INSERT INTO p VALUES (12, 'in'); COMMIT",
        )
        .unwrap();
    client.batch_execute("BEGIN; DROP TABLE p_2; ROLLBACK").unwrap();
    assert_eq!(story(&mut client, &token), ["add 12"]);
}

#[test]
fn rows_that_the_dropping_transaction_wrote_itself_leave_no_trace() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "BEGIN; INSERT INTO p VALUES (12, 'brief'); UPDATE p SET v = 'other' WHERE id = 11;
             DROP TABLE p_1; COMMIT",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["remove 11"]);
    assert_eq!(events[0].data, Some(json!({"id": 11, "v": "eleven"})));
}

#[test]
fn partitions_go_with_drop_schema_and_drop_owned_as_well() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE SCHEMA old; ALTER TABLE p_1 SET SCHEMA old;
             CREATE ROLE archivist; ALTER TABLE p_2 OWNER TO archivist;
             DROP SCHEMA old CASCADE",
        )
        .unwrap();
    client.batch_execute("DROP OWNED BY archivist").unwrap();
    assert_eq!(story(&mut client, &token), ["remove 11", "remove 21"]);
}

#[test]
fn partitions_of_partitions_are_dropped_with_their_rows() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE TABLE p_3 PARTITION OF p FOR VALUES FROM (30) TO (50) PARTITION BY RANGE (id);
             CREATE TABLE p_3a PARTITION OF p_3 FOR VALUES FROM (30) TO (40);
             CREATE TABLE p_3b PARTITION OF p_3 FOR VALUES FROM (40) TO (50);
             INSERT INTO p VALUES (31, 'a'), (41, 'b')",
        )
        .unwrap();
    client.batch_execute("DROP TABLE p_3").unwrap();
    assert_eq!(sorted(story(&mut client, &token)), ["add 31", "add 41", "remove 31", "remove 41"]);
}

#[test]
fn a_table_that_is_dropped_as_a_whole_writes_no_removes() {
    let (_cluster, mut client, _) = captured();
    client.batch_execute("DROP TABLE p").unwrap();
    let logged: i64 = client
        .query_one(
            "SELECT count(*) FROM (
               SELECT payload FROM event_source.stamp_0 UNION ALL
               SELECT payload FROM event_source.stamp_1 UNION ALL
               SELECT payload FROM event_source.change_0 UNION ALL
               SELECT payload FROM event_source.change_1) s WHERE payload IS NOT NULL",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(logged, 0);
}

#[test]
fn a_large_partition_is_dropped_in_bounded_steps() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE TABLE big PARTITION OF p FOR VALUES FROM (100) TO (100000);
             INSERT INTO p SELECT n, 'row' FROM generate_series(100, 20099) n",
        )
        .unwrap();
    client.batch_execute("DROP TABLE big").unwrap();
    let told = story(&mut client, &token);
    assert_eq!(told.iter().filter(|t| t.starts_with("remove")).count(), 20_000);
    assert_eq!(told.len(), 40_000);
}

#[test]
fn a_detached_partition_takes_its_rows_along_and_is_followed_no_longer() {
    let (_cluster, mut client, token) = captured();
    client.batch_execute("ALTER TABLE p DETACH PARTITION p_1").unwrap();
    client.batch_execute("INSERT INTO p_1 VALUES (12, 'alone'); TRUNCATE p_1").unwrap();
    assert_eq!(story(&mut client, &token), ["remove 11"]);
    let left: i64 = client
        .query_one("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'p_1'::regclass", &[])
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "no trigger of ours stays behind");
}

#[test]
fn what_is_written_between_the_steps_of_detach_concurrently_has_its_events() {
    let (cluster, mut client, token) = captured();
    client.batch_execute("INSERT INTO p VALUES (12, 'twelve'), (13, 'thirteen')").unwrap();
    // An open transaction that used the table keeps the second step waiting.
    let mut reader = cluster.connect();
    reader.batch_execute("BEGIN; SELECT count(*) FROM p").unwrap();
    let mut detacher = cluster.connect();
    let detaching = std::thread::spawn(move || {
        detacher.batch_execute("ALTER TABLE p DETACH PARTITION p_1 CONCURRENTLY")
    });
    wait_until("the first step", LONG, || {
        client
            .query_one(
                "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'p_1'::regclass",
                &[],
            )
            .unwrap()
            .get(0)
    });
    client
        .batch_execute(
            "DELETE FROM p_1 WHERE id = 11; UPDATE p_1 SET v = 'new' WHERE id = 12;
             INSERT INTO p_1 VALUES (14, 'fourteen')",
        )
        .unwrap();
    reader.batch_execute("COMMIT").unwrap();
    detaching.join().unwrap().unwrap();
    client.batch_execute("INSERT INTO p_1 VALUES (15, 'alone')").unwrap();
    let mut told = story(&mut client, &token);
    let gone = told.split_off(told.len() - 3);
    assert_eq!(told, ["add 12", "add 13", "remove 11", "update 12", "add 14"]);
    assert_eq!(sorted(gone), ["remove 12", "remove 13", "remove 14"]);
}

#[test]
fn a_partition_left_between_the_steps_is_finalized_with_removes() {
    let (cluster, mut client, token) = captured();
    let mut reader = cluster.connect();
    reader.batch_execute("BEGIN; SELECT count(*) FROM p").unwrap();
    let mut detacher = cluster.connect();
    let cancel = detacher.cancel_token();
    let detaching = std::thread::spawn(move || {
        detacher.batch_execute("ALTER TABLE p DETACH PARTITION p_1 CONCURRENTLY")
    });
    wait_until("the first step", LONG, || {
        client
            .query_one(
                "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'p_1'::regclass",
                &[],
            )
            .unwrap()
            .get(0)
    });
    cancel.cancel_query(postgres::NoTls).unwrap();
    refused(detaching.join().unwrap());
    reader.batch_execute("COMMIT").unwrap();
    client.batch_execute("UPDATE p_1 SET v = 'last'").unwrap();
    client.batch_execute("ALTER TABLE p DETACH PARTITION p_1 FINALIZE").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["update 11", "remove 11"]);
    assert_eq!(events[1].data, Some(json!({"id": 11, "v": "last"})));
}

#[test]
fn the_rows_of_an_attached_partition_are_added_and_followed_from_then_on() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE TABLE p_3 (v text, id int PRIMARY KEY);
             INSERT INTO p_3 VALUES ('old', 31);
             ALTER TABLE p ATTACH PARTITION p_3 FOR VALUES FROM (30) TO (40)",
        )
        .unwrap();
    client.batch_execute("UPDATE p SET v = 'new' WHERE id = 31").unwrap();
    client.batch_execute("TRUNCATE p_3").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["add 31", "update 31", "remove 31"]);
    assert_eq!(events[0].data, Some(json!({"id": 31, "v": "old"})), "by the root's columns");
}

#[test]
fn detached_and_attached_again_in_one_transaction_nothing_happened() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "BEGIN; ALTER TABLE p DETACH PARTITION p_1;
             UPDATE p_1 SET v = 'changed while away';
             ALTER TABLE p ATTACH PARTITION p_1 FOR VALUES FROM (10) TO (20); COMMIT",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["update 11"]);
    assert_eq!(events[0].data, Some(json!({"id": 11, "v": "changed while away"})));
    assert_eq!(events[0].prev, Some(json!({"id": 11, "v": "eleven"})));
}

#[test]
fn what_would_hide_rows_from_capture_is_refused_with_a_way_out() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t')")
        .unwrap();
    for statement in [
        "ALTER TABLE t SET UNLOGGED",
        "CREATE TABLE child () INHERITS (t)",
        "CREATE TABLE parent (id int); ALTER TABLE t INHERIT parent",
        "CREATE TABLE q (id int PRIMARY KEY) PARTITION BY RANGE (id);
         ALTER TABLE q ATTACH PARTITION t FOR VALUES FROM (0) TO (10)",
        "CREATE UNLOGGED TABLE p_9 PARTITION OF p FOR VALUES FROM (90) TO (100)",
        "ALTER TABLE p_1 SET UNLOGGED",
    ] {
        let said = refused(client.batch_execute(&format!("BEGIN; {statement}")));
        client.batch_execute("ROLLBACK").unwrap();
        assert!(said.hint.contains("event_source.release"), "{statement}: {said:?}");
    }
    client.batch_execute("INSERT INTO p VALUES (2, 'two')").unwrap();
    assert_eq!(story(&mut client, &token), ["add 2"]);
}
