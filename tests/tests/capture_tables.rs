//! Which tables can be captured, by whom, and what people see of it in psql.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::follow::{self, mint, refused, story};
use postgres::Client;

/// A cluster with a captured table `t (id, v)` and a token of it.
fn captured() -> (Cluster, Client, String) {
    follow::captured("t", "CREATE TABLE t (id int PRIMARY KEY, v text)")
}

#[test]
fn capture_and_release_may_be_repeated() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute("SELECT event_source.capture('t'); INSERT INTO t VALUES (1, 'a')")
        .unwrap();
    assert_eq!(story(&mut client, &token), ["add 1"], "the second capture changed nothing");
    client.batch_execute("SELECT event_source.release('t')").unwrap();
    client.batch_execute("SELECT event_source.release('t')").unwrap();
    client.batch_execute("INSERT INTO t VALUES (2, 'unseen')").unwrap();
    refused(client.query("SELECT event_page($1)", &[&token]));
    let minted = refused(client.query("SELECT event_source('t')", &[]));
    assert_eq!(minted.code, "55000");
    assert!(minted.hint.contains("event_source.capture"), "{minted:?}");

    client.batch_execute("SELECT event_source.capture('t')").unwrap();
    refused(client.query("SELECT event_page($1)", &[&token]));
    let fresh = mint(&mut client, "event_source('t')");
    client.batch_execute("DELETE FROM t WHERE id = 2").unwrap();
    assert_eq!(story(&mut client, &fresh), ["remove 2"]);
}

#[test]
fn a_capture_waits_for_open_writers_and_honours_lock_timeout() {
    let (cluster, mut client, _) = captured();
    client.batch_execute("CREATE TABLE busy (id int PRIMARY KEY)").unwrap();
    let mut writer = cluster.connect();
    writer.batch_execute("BEGIN; INSERT INTO busy VALUES (1)").unwrap();
    client.batch_execute("SET lock_timeout = '100ms'").unwrap();
    let timed_out = refused(client.batch_execute("SELECT event_source.capture('busy')"));
    assert_eq!(timed_out.code, "55P03");
    writer.batch_execute("COMMIT").unwrap();
    client.batch_execute("SELECT event_source.capture('busy')").unwrap();
}

#[test]
fn a_token_cannot_be_minted_in_a_snapshot_older_than_the_capture() {
    let (cluster, mut client, _) = captured();
    client.batch_execute("CREATE TABLE late (id int PRIMARY KEY)").unwrap();
    let mut old = cluster.connect();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM t").unwrap();
    client.batch_execute("SELECT event_source.capture('late')").unwrap();
    refused(old.query("SELECT event_source('late')", &[]));
}

#[test]
fn tables_that_cannot_be_captured_are_refused_with_a_hint() {
    let (_cluster, mut client, _) = captured();
    client
        .batch_execute(
            "CREATE VIEW a_view AS SELECT 1 AS id;
             CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS id;
             CREATE TEMPORARY TABLE a_temporary (id int);
             CREATE UNLOGGED TABLE an_unlogged (id int);
             CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
             CREATE FOREIGN TABLE a_foreign (id int) SERVER s;
             CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);
             CREATE SEQUENCE a_sequence;
             CREATE INDEX an_index ON t (v);",
        )
        .unwrap();
    for name in
        ["a_view", "a_matview", "a_temporary", "an_unlogged", "a_foreign", "parent", "pg_class"]
    {
        let statement = format!("SELECT event_source.capture('{name}')");
        let said = refused(client.batch_execute(&statement));
        assert!(!said.hint.is_empty(), "{name} without a hint: {said:?}");
    }
    for name in ["a_sequence", "an_index", "information_schema.tables"] {
        refused(client.batch_execute(&format!("SELECT event_source.capture('{name}')")));
    }
}

#[test]
fn only_the_owner_captures_and_releases() {
    let (cluster, mut client, _) = captured();
    client
        .batch_execute(
            "CREATE ROLE owner LOGIN; CREATE ROLE other LOGIN;
             CREATE TABLE owned (id int PRIMARY KEY); ALTER TABLE owned OWNER TO owner;
             GRANT ALL ON owned TO other;",
        )
        .unwrap();
    let mut other = cluster.connect_as("other");
    let mut owner = cluster.connect_as("owner");
    assert_eq!(refused(other.batch_execute("SELECT event_source.capture('owned')")).code, "42501");
    owner.batch_execute("SELECT event_source.capture('owned')").unwrap();
    assert_eq!(refused(other.batch_execute("SELECT event_source.release('owned')")).code, "42501");
    // Whoever may write the table writes the log through it, without rights on the log.
    let token = mint(&mut owner, "event_source('owned')");
    other.batch_execute("INSERT INTO owned VALUES (1)").unwrap();
    assert_eq!(story(&mut owner, &token), ["add 1"]);
    owner.batch_execute("SELECT event_source.release('owned')").unwrap();
}

#[test]
fn without_the_library_preloaded_the_hint_says_what_to_do() {
    let cluster =
        Cluster::options().conf("shared_preload_libraries", "").without_extension().start();
    let mut client = cluster.connect_to("postgres");
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").unwrap();
    let said = refused(
        client
            .batch_execute("CREATE EXTENSION event_source")
            .and_then(|()| client.batch_execute("SELECT event_source.capture('t')")),
    );
    let all = format!("{} {}", said.message, said.hint);
    assert!(all.contains("shared_preload_libraries"), "{said:?}");
}

#[test]
fn no_view_is_worth_compiling_to_the_planner() {
    let (_cluster, mut client, _) = captured();
    // As in a database that was never analyzed, with the settings that PostgreSQL comes with.
    for view in ["changes", "collections", "secrets", "status"] {
        let plan = client
            .query_one(&format!("EXPLAIN (FORMAT JSON) SELECT * FROM event_source.{view}"), &[])
            .unwrap();
        let plan: serde_json::Value = plan.get(0);
        let cost = plan[0]["Plan"]["Total Cost"].as_f64().unwrap();
        let compiled_above: f64 = client
            .query_one("SELECT setting::float8 FROM pg_settings WHERE name = 'jit_above_cost'", &[])
            .unwrap()
            .get(0);
        assert!(cost < compiled_above, "{view}: {cost}");
    }
}

#[test]
fn the_views_show_what_happened() {
    let (_cluster, mut client, _) = captured();
    client.batch_execute("INSERT INTO t VALUES (1, 'a')").unwrap();
    client.batch_execute("UPDATE t SET v = 'b'").unwrap();
    let rows = client
        .query(
            "SELECT op, key, old->>'v', new->>'v', xid IS NOT NULL,
                    abs(extract(epoch FROM committed_at - event_source.txn_time(txn_ts))) < 60
             FROM event_source.changes WHERE collection = 't' ORDER BY txn_ts, ordinal",
            &[],
        )
        .unwrap();
    let seen: Vec<(String, Option<String>, Option<String>)> =
        rows.iter().map(|r| (r.get(0), r.get(2), r.get(3))).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((seen[0].1.as_deref(), seen[0].2.as_deref()), (None, Some("a")));
    assert_eq!((seen[1].1.as_deref(), seen[1].2.as_deref()), (Some("a"), Some("b")));
    assert!(rows.iter().all(|r| r.get::<_, bool>(4) && r.get::<_, bool>(5)));
    let problems: i64 = client
        .query_one("SELECT count(*) FROM event_source.collections WHERE problem IS NOT NULL", &[])
        .unwrap()
        .get(0);
    assert_eq!(problems, 0);
    assert_eq!(client.query("SELECT * FROM event_source.status", &[]).unwrap().len(), 1);
}

#[test]
fn the_log_is_closed_to_ordinary_roles() {
    let (cluster, mut client, _) = captured();
    client.batch_execute("CREATE ROLE nobody LOGIN; INSERT INTO t VALUES (1, 'a')").unwrap();
    let mut nobody = cluster.connect_as("nobody");
    let tables = client
        .query(
            "SELECT c.oid::regclass::text FROM pg_class c
             WHERE c.relnamespace = 'event_source'::regnamespace AND c.relkind = 'r'",
            &[],
        )
        .unwrap();
    assert!(!tables.is_empty());
    for table in tables {
        let table: String = table.get(0);
        for statement in [format!("SELECT * FROM {table}"), format!("DELETE FROM {table}")] {
            assert_eq!(refused(nobody.batch_execute(&statement)).code, "42501", "{statement}");
        }
    }
    let seen = nobody.query("SELECT * FROM event_source.changes", &[]).unwrap();
    assert!(seen.is_empty(), "changes of a table that the role may not SELECT");
}
