//! What single versions of PostgreSQL brought: each is captured right, or refused with an error that
//! says why. A test returns at once on a server that is older than what it is about.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::follow::{drain, mint, refused, story};
use event_source_tests::private::has_version;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Stop, wait_until};
use postgres::Client;
use serde_json::json;

fn quiet() -> (Cluster, Client) {
    let cluster = Cluster::options().fresh().conf("event_source.listen", "").start();
    let client = cluster.connect();
    (cluster, client)
}

/// Captures table `t` of the script; the token starts behind it.
fn captured(script: &str) -> (Cluster, Client, String) {
    let (cluster, mut client) = quiet();
    client.batch_execute(script).unwrap();
    client.batch_execute("SELECT event_source.capture('t')").unwrap();
    let token = mint(&mut client, "event_source('t')");
    (cluster, client, token)
}

#[test]
fn merge_by_source_and_its_returning_are_captured() {
    if !has_version(17) {
        return;
    }
    let (_cluster, mut client, token) = captured(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    );
    let rows = client
        .query(
            "MERGE INTO t USING (VALUES (2, 'c'), (3, 'd')) AS s (id, v) ON t.id = s.id
             WHEN MATCHED THEN UPDATE SET v = s.v
             WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)
             WHEN NOT MATCHED BY SOURCE THEN DELETE
             RETURNING merge_action(), t.id",
            &[],
        )
        .unwrap();
    assert_eq!(rows.len(), 3);
    let mut told = story(&mut client, &token);
    told.sort();
    assert_eq!(told, ["add 3", "remove 1", "update 2"]);
}

#[test]
fn identity_columns_of_partitions_are_captured() {
    if !has_version(17) {
        return;
    }
    let (_cluster, mut client, token) = captured(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, part int, PRIMARY KEY (id, part))
           PARTITION BY LIST (part);
         CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1);
         CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2)",
    );
    client
        .batch_execute("INSERT INTO t (part) VALUES (1); INSERT INTO t_2 (part) VALUES (2)")
        .unwrap();
    assert_eq!(story(&mut client, &token), ["add [1,1]", "add [2,2]"]);
}

#[test]
fn copy_that_ignores_bad_lines_is_captured() {
    if !has_version(17) {
        return;
    }
    let (cluster, mut client, token) = captured("CREATE TABLE t (id int PRIMARY KEY)");
    let _ = cluster
        .psql("COPY t FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY default);\n1\nbad\n2\n\\.\n");
    assert_eq!(story(&mut client, &token), ["add 1", "add 2"]);
}

#[test]
fn an_event_source_of_the_old_or_the_new_row_can_be_returned() {
    if !has_version(18) {
        return;
    }
    let (_cluster, mut client, _) =
        captured("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    let row = client
        .query_one(
            "UPDATE t SET id = 2 RETURNING event_source(old), event_source(new), old.v, new.id",
            &[],
        )
        .unwrap();
    let (old, new): (String, String) = (row.get(0), row.get(1));
    // The tokens start before the statement that minted them, so its own changes are delivered.
    assert_eq!(story(&mut client, &old), ["remove 1"]);
    assert_eq!(story(&mut client, &new), ["add 2"]);
    client.batch_execute("INSERT INTO t VALUES (1, 'again')").unwrap();
    assert_eq!(story(&mut client, &old), ["remove 1", "add 1"]);
}

#[test]
fn virtual_generated_columns_are_computed() {
    if !has_version(18) {
        return;
    }
    let (_cluster, mut client, token) = captured(
        "CREATE TABLE t (id int PRIMARY KEY, price numeric, tax numeric GENERATED ALWAYS AS
           (round(price * 0.2, 2)) VIRTUAL, label text GENERATED ALWAYS AS ('#' || id) VIRTUAL);
         INSERT INTO t VALUES (1, 10)",
    );
    let filtered = mint(&mut client, "event_source('t', filter => 'tax > 3', watch => '{tax}')");
    client.batch_execute("UPDATE t SET price = 20").unwrap();
    client.batch_execute("DELETE FROM t").unwrap();
    let events = drain(&mut client, &token, None);
    let row = |price: i32, tax: &str| json!({"id": 1, "price": price, "tax": serde_json::from_str::<serde_json::Value>(tax).unwrap(), "label": "#1"});
    assert_eq!(events[0].prev, Some(row(10, "2.00")));
    assert_eq!(events[0].data, Some(row(20, "4.00")));
    assert_eq!(events[1].data, Some(row(20, "4.00")));
    assert_eq!(story(&mut client, &filtered), ["add 1", "remove 1"]);
    // As it was before the table was captured, a TRUNCATE computes them too.
    client.batch_execute("INSERT INTO t VALUES (2, 30)").unwrap();
    client.batch_execute("TRUNCATE t").unwrap();
    let last = drain(&mut client, &token, None).pop().unwrap();
    assert_eq!(last.data.unwrap()["label"], json!("#2"));
}

#[test]
fn a_virtual_column_that_cannot_be_computed_is_null_and_stops_no_writer() {
    if !has_version(18) {
        return;
    }
    let (_cluster, mut client, token) = captured(
        "CREATE TABLE t (id int PRIMARY KEY, ratio int GENERATED ALWAYS AS (100 / id) VIRTUAL,
           twice int GENERATED ALWAYS AS (id * 2) VIRTUAL)",
    );
    client
        .batch_execute("BEGIN; INSERT INTO t VALUES (0), (5); DELETE FROM t WHERE id = 5; COMMIT")
        .unwrap();
    client.batch_execute("DELETE FROM t").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["add 0", "remove 0"]);
    assert_eq!(events[0].data, Some(json!({"id": 0, "ratio": null, "twice": 0})));
}

#[test]
fn virtual_columns_of_partitions_are_those_of_the_root() {
    if !has_version(18) {
        return;
    }
    let (_cluster, mut client, token) = captured(
        "CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + 1) VIRTUAL)
           PARTITION BY RANGE (id);
         CREATE TABLE t_low (gone text, v int GENERATED ALWAYS AS (id + 1000) VIRTUAL, id int NOT NULL);
         ALTER TABLE t_low DROP COLUMN gone;
         ALTER TABLE t ATTACH PARTITION t_low FOR VALUES FROM (0) TO (10)",
    );
    client.batch_execute("INSERT INTO t VALUES (1); INSERT INTO t_low (id) VALUES (2)").unwrap();
    let shown: Vec<i32> = client
        .query("SELECT v FROM t ORDER BY id", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    let events = drain(&mut client, &token, None);
    let told: Vec<i64> =
        events.iter().map(|e| e.data.as_ref().unwrap()["v"].as_i64().unwrap()).collect();
    assert_eq!(told, [2, 3]);
    assert_eq!(shown, [2, 3], "as a query of the whole table shows them");
}

#[test]
fn rows_with_a_temporal_key_are_told_by_it() {
    if !has_version(18) {
        return;
    }
    let (_cluster, mut client, token) = captured(
        "CREATE TABLE t (room int4range, during daterange, who text,
           PRIMARY KEY (room, during WITHOUT OVERLAPS))",
    );
    client.batch_execute("INSERT INTO t VALUES ('[1,2)', '[2026-01-01,2026-02-01)', 'a')").unwrap();
    client.batch_execute("UPDATE t SET who = 'b'").unwrap();
    client.batch_execute("UPDATE t SET during = '[2026-01-01,2026-03-01)'").unwrap();
    let mut told = story(&mut client, &token);
    assert_eq!(told.remove(0), r#"add ["[1,2)","[2026-01-01,2026-02-01)"]"#);
    assert_eq!(told.remove(0), r#"update ["[1,2)","[2026-01-01,2026-02-01)"]"#);
    told.sort();
    assert_eq!(
        told,
        [
            r#"add ["[1,2)","[2026-01-01,2026-03-01)"]"#,
            r#"remove ["[1,2)","[2026-01-01,2026-02-01)"]"#
        ]
    );
}

#[test]
fn an_event_source_of_one_row_with_a_temporal_key_is_refused() {
    if !has_version(18) {
        return;
    }
    let (_cluster, mut client, _) = captured(
        "CREATE TABLE t (room int4range, during daterange, who text,
           PRIMARY KEY (room, during WITHOUT OVERLAPS));
         INSERT INTO t VALUES ('[1,2)', '[2026-01-01,2026-02-01)', 'a')",
    );
    let said = refused(client.query("SELECT event_source(t) FROM t", &[]));
    assert_eq!(said.code, "42809");
    assert!(said.hint.contains("filter"), "{said:?}");
}

#[test]
fn constraints_that_are_not_enforced_change_nothing() {
    if !has_version(18) {
        return;
    }
    let (_cluster, mut client, token) = captured(
        "CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE t (id int PRIMARY KEY CHECK (id > 100) NOT ENFORCED,
           parent int REFERENCES parent ON DELETE CASCADE NOT ENFORCED)",
    );
    client.batch_execute("INSERT INTO t VALUES (1, 7)").unwrap();
    client.batch_execute("INSERT INTO parent VALUES (7)").unwrap();
    client.batch_execute("DELETE FROM parent").unwrap();
    assert_eq!(story(&mut client, &token), ["add 1"]);
}

#[test]
fn stored_generated_columns_that_a_publication_ships_arrive() {
    if !has_version(18) {
        return;
    }
    let publisher = Cluster::options()
        .fresh()
        .conf("shared_preload_libraries", "")
        .conf("wal_level", "logical")
        .without_extension()
        .start();
    publisher
        .connect_to("postgres")
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
             CREATE PUBLICATION p FOR TABLE t WITH (publish_generated_columns = stored)",
        )
        .unwrap();
    let (mut subscriber, mut client, token) =
        captured("CREATE TABLE t (id int PRIMARY KEY, twice int)");
    let connection =
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", publisher.port());
    client
        .batch_execute(&format!("CREATE SUBSCRIPTION s CONNECTION '{connection}' PUBLICATION p"))
        .unwrap();
    publisher.connect_to("postgres").batch_execute("INSERT INTO t VALUES (1), (2)").unwrap();
    wait_until("the rows to arrive", LONG, || drain(&mut client, &token, None).len() == 2);
    let events = drain(&mut client, &token, None);
    assert_eq!(events[1].data, Some(json!({"id": 2, "twice": 4})));
    subscriber.stop(Stop::Fast);
}
