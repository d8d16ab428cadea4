//! Capture: which tables, which changes, and what one transaction's net change is.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::follow::{self, drain, mint, refused, story};
use postgres::Client;
use serde_json::json;

/// A cluster with a captured table `t (id, v)` and a token of it.
fn captured() -> (Cluster, Client, String) {
    follow::captured("t", "CREATE TABLE t (id int PRIMARY KEY, v text)")
}

#[test]
fn insert_update_and_delete_are_add_update_and_remove() {
    let (_cluster, mut client, token) = captured();
    for statement in
        ["INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'b'", "DELETE FROM t WHERE id = 1"]
    {
        client.batch_execute(statement).unwrap();
    }
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["add 1", "update 1", "remove 1"]);
    assert_eq!(events[0].data, Some(json!({"id": 1, "v": "a"})));
    assert_eq!(events[1].prev, Some(json!({"id": 1, "v": "a"})));
    assert_eq!(events[1].data, Some(json!({"id": 1, "v": "b"})));
    assert_eq!(events[2].data, Some(json!({"id": 1, "v": "b"})), "remove carries the last row");
    assert!(events.is_sorted_by(|a, b| a.txn_ts < b.txn_ts), "each transaction has its own");
}

#[test]
fn every_kind_of_statement_that_writes_is_captured() {
    let (cluster, mut client, token) = captured();
    client.batch_execute("INSERT INTO t VALUES (1, 'a') ON CONFLICT (id) DO NOTHING").unwrap();
    client
        .batch_execute("INSERT INTO t VALUES (1, 'b') ON CONFLICT (id) DO UPDATE SET v = 'c'")
        .unwrap();
    client
        .batch_execute(
            "MERGE INTO t USING (VALUES (1, 'm'), (2, 'm')) AS s (id, v) ON t.id = s.id
             WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)",
        )
        .unwrap();
    let _ = cluster.psql("COPY t FROM STDIN;\n3\tcopied\n\\.\n");
    client.batch_execute("WITH gone AS (DELETE FROM t WHERE id = 3 RETURNING 1) SELECT 1").unwrap();
    client.batch_execute("TRUNCATE t").unwrap();
    let mut told = story(&mut client, &token);
    let truncated = told.split_off(told.len() - 2);
    assert_eq!(told, ["add 1", "update 1", "update 1", "add 2", "add 3", "remove 3"]);
    assert_eq!(
        truncated.iter().collect::<std::collections::BTreeSet<_>>(),
        ["remove 1".to_owned(), "remove 2".to_owned()].iter().collect(),
    );
}

#[test]
fn one_event_a_row_and_transaction_the_net_change() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "BEGIN; INSERT INTO t VALUES (1, 'a'); UPDATE t SET v = 'b'; COMMIT;
             BEGIN; INSERT INTO t VALUES (2, 'a'); DELETE FROM t WHERE id = 2; COMMIT;
             BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'c'); COMMIT;
             BEGIN; UPDATE t SET v = 'd'; UPDATE t SET v = 'e'; COMMIT;
             BEGIN; UPDATE t SET v = 'f'; DELETE FROM t; COMMIT;",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["add 1", "update 1", "update 1", "remove 1"]);
    assert_eq!(events[0].data, Some(json!({"id": 1, "v": "b"})));
    assert_eq!(events[1].prev, Some(json!({"id": 1, "v": "b"})));
    assert_eq!(events[1].data, Some(json!({"id": 1, "v": "c"})));
    assert_eq!(events[2].data, Some(json!({"id": 1, "v": "e"})));
    assert_eq!(events[3].data, Some(json!({"id": 1, "v": "e"})), "the last row that was visible");
}

#[test]
fn a_changed_key_is_a_remove_and_an_add() {
    let (_cluster, mut client, token) = captured();
    client.batch_execute("INSERT INTO t VALUES (1, 'a')").unwrap();
    client.batch_execute("UPDATE t SET id = 2").unwrap();
    let mut told = story(&mut client, &token);
    assert_eq!(told.remove(0), "add 1");
    told.sort();
    assert_eq!(told, ["add 2", "remove 1"]);
}

#[test]
fn what_is_rolled_back_never_happened() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "BEGIN; INSERT INTO t VALUES (1, 'a'); ROLLBACK;
             BEGIN; INSERT INTO t VALUES (2, 'a');
             SAVEPOINT s; UPDATE t SET v = 'lost'; INSERT INTO t VALUES (3, 'lost');
             SAVEPOINT deeper; DELETE FROM t; RELEASE deeper; ROLLBACK TO s;
             SAVEPOINT kept; INSERT INTO t VALUES (4, 'kept'); RELEASE kept; COMMIT;",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["add 2", "add 4"]);
    assert_eq!(events[0].data, Some(json!({"id": 2, "v": "a"})));
    assert_eq!(events[0].txn_ts, events[1].txn_ts);
}

#[test]
fn a_large_transaction_arrives_whole() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "BEGIN; INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 15000) n;
             SAVEPOINT s; DELETE FROM t WHERE id > 10000; ROLLBACK TO s;
             DELETE FROM t WHERE id > 12000; COMMIT",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    let keys: std::collections::BTreeSet<i64> =
        events.iter().map(|e| e.key.as_ref().and_then(|k| k.as_i64()).unwrap()).collect();
    assert_eq!(events.len(), 12000);
    assert_eq!(keys, (1..=12000).collect());
}

#[test]
fn replicated_rows_count_too() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute("SET session_replication_role = replica; INSERT INTO t VALUES (1, 'a')")
        .unwrap();
    assert_eq!(story(&mut client, &token), ["add 1"]);
}

#[test]
fn rows_of_user_triggers_are_captured_in_the_order_of_their_commands() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF pg_trigger_depth() = 1 THEN
                 UPDATE t SET v = v || '!' WHERE id = NEW.id;
               END IF;
               RETURN NEW; END $$;
             CREATE TRIGGER a_echo AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION echo();
             CREATE TRIGGER z_echo AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION echo();",
        )
        .unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, 'a')").unwrap();
    client.batch_execute("UPDATE t SET v = 'b'").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(events[0].data, Some(json!({"id": 1, "v": "a!!"})));
    assert_eq!(events[1].prev, Some(json!({"id": 1, "v": "a!!"})));
    assert_eq!(events[1].data, Some(json!({"id": 1, "v": "b!!"})));
}

#[test]
fn a_table_without_key_has_events_without_key() {
    let (_cluster, mut client, _) = captured();
    client.batch_execute("CREATE TABLE bag (v int); SELECT event_source.capture('bag')").unwrap();
    let token = mint(&mut client, "event_source('bag')");
    client.batch_execute("INSERT INTO bag VALUES (1), (1)").unwrap();
    client.batch_execute("UPDATE bag SET v = 2").unwrap();
    client.batch_execute("DELETE FROM bag").unwrap();
    let told = story(&mut client, &token);
    assert_eq!(told, ["add", "add", "update", "update", "remove", "remove"]);
}

#[test]
fn a_partitioned_table_is_one_collection() {
    let (_cluster, mut client, _) = captured();
    client
        .batch_execute(
            "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
             CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
             CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (10) TO (20);
             SELECT event_source.capture('p');",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('p')");
    client.batch_execute("INSERT INTO p VALUES (1, 'a')").unwrap();
    client.batch_execute("INSERT INTO p_high VALUES (11, 'direct')").unwrap();
    client
        .batch_execute("CREATE TABLE p_late PARTITION OF p FOR VALUES FROM (20) TO (30)")
        .unwrap();
    client.batch_execute("INSERT INTO p VALUES (21, 'late')").unwrap();
    client.batch_execute("TRUNCATE p_late").unwrap();
    client.batch_execute("TRUNCATE p_high").unwrap();
    assert_eq!(story(&mut client, &token), ["add 1", "add 11", "add 21", "remove 21", "remove 11"]);

    let hint = refused(client.batch_execute("SELECT event_source.capture('p_low')")).hint;
    let words = |c: char| !(c.is_alphanumeric() || c == '_');
    assert!(hint.split(words).any(|word| word == "p"), "names the root: {hint}");
}

#[test]
fn a_row_that_moves_between_partitions_is_told_by_what_its_key_says() {
    let (_cluster, mut client, _) = captured();
    client
        .batch_execute(
            "CREATE TABLE m (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
             CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1);
             CREATE TABLE m_2 PARTITION OF m FOR VALUES IN (2);
             SELECT event_source.capture('m');",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('m')");
    client.batch_execute("INSERT INTO m VALUES (1, 1)").unwrap();
    client.batch_execute("UPDATE m SET part = 2").unwrap();
    client.batch_execute("BEGIN; UPDATE m SET part = 1; UPDATE m SET part = 2; COMMIT").unwrap();
    let mut told = story(&mut client, &token);
    assert_eq!(told.remove(0), "add [1,1]");
    assert_eq!(told.pop().as_deref(), Some("update [1,2]"), "there and back is one row");
    told.sort();
    assert_eq!(told, ["add [1,2]", "remove [1,1]"]);
}

#[test]
fn the_log_stays_out_of_logical_decoding() {
    let cluster =
        Cluster::options().conf("event_source.listen", "").conf("wal_level", "logical").start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t');
             CREATE PUBLICATION everything FOR ALL TABLES;",
        )
        .unwrap();
    client
        .batch_execute("SELECT pg_create_logical_replication_slot('s', 'test_decoding')")
        .unwrap();
    // Small enough to ride in its stamp, and large enough to spill.
    client.batch_execute("INSERT INTO t VALUES (0)").unwrap();
    client.batch_execute("INSERT INTO t SELECT generate_series(1, 2000)").unwrap();
    let row = client
        .query_one(
            "SELECT count(*) FILTER (WHERE data LIKE 'table public.t:%'),
                    count(*) FILTER (WHERE data LIKE 'table %' AND data NOT LIKE 'table public.t:%')
             FROM pg_logical_slot_get_changes('s', NULL, NULL)",
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2001, 0));
}
