//! Triggers, ours and those of others: switched off, renamed, firing after ours, writing while a
//! table is emptied.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::follow::{self, drain, mint, refused, sorted, story};
use postgres::Client;
use serde_json::json;

/// A captured table `t (id, v)` with rows 1 and 2.
fn captured() -> (Cluster, Client, String) {
    follow::captured(
        "t",
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    )
}

fn problem(client: &mut Client) -> Option<String> {
    let row = client.query_one("SELECT problem FROM event_source.collections", &[]).unwrap();
    row.get(0)
}

#[test]
fn triggers_that_are_switched_off_stay_on_as_under_pg_restore_disable_triggers() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute("ALTER TABLE t DISABLE TRIGGER ALL; INSERT INTO t VALUES (3, 'c')")
        .unwrap();
    client.batch_execute("ALTER TABLE t ENABLE TRIGGER ALL").unwrap();
    client
        .batch_execute("SET session_replication_role = replica; DELETE FROM t WHERE id = 3")
        .unwrap();
    client.batch_execute("RESET session_replication_role").unwrap();
    client.batch_execute("ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET v = 'x'").unwrap();
    assert_eq!(story(&mut client, &token), ["add 3", "remove 3", "update 1", "update 2"]);
    assert_eq!(problem(&mut client), None);
}

#[test]
fn pg_restore_of_data_with_disable_triggers_is_captured_row_by_row() {
    let (cluster, mut client, token) = captured();
    let folder = cluster.data();
    let dump = folder.join("t.dump");
    let run = |program: &str, arguments: &[&str]| {
        let port = cluster.port().to_string();
        let status = std::process::Command::new(cluster.program(program))
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", "app"])
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    };
    let file = format!("--file={}", dump.display());
    run("pg_dump", &["--format=custom", "--data-only", "--table=public.t", &file]);
    client.batch_execute("DELETE FROM t").unwrap();
    run("pg_restore", &["--data-only", "--disable-triggers", &dump.display().to_string()]);
    assert_eq!(sorted(story(&mut client, &token)), ["add 1", "add 2", "remove 1", "remove 2"]);
    assert_eq!(problem(&mut client), None);
}

#[test]
fn our_triggers_are_neither_renamed_nor_dropped() {
    let (_cluster, mut client, token) = captured();
    let triggers = client
        .query("SELECT tgname::text FROM pg_trigger WHERE tgrelid = 't'::regclass", &[])
        .unwrap();
    assert_eq!(triggers.len(), 3);
    for trigger in triggers {
        let name: String = trigger.get(0);
        for statement in [
            format!("ALTER TRIGGER \"{name}\" ON t RENAME TO \"a{name}\""),
            format!("DROP TRIGGER \"{name}\" ON t"),
        ] {
            let said = refused(client.batch_execute(&statement));
            assert!(said.hint.contains("event_source.release"), "{statement}: {said:?}");
        }
    }
    client
        .batch_execute(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER theirs BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
             ALTER TRIGGER theirs ON t RENAME TO still_theirs; DROP TRIGGER still_theirs ON t",
        )
        .unwrap();
    client.batch_execute("DELETE FROM t WHERE id = 1").unwrap();
    assert_eq!(story(&mut client, &token), ["remove 1"]);
}

#[test]
fn rows_that_a_later_truncate_trigger_writes_go_with_the_others() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               UPDATE t SET v = 'late' WHERE id = 1;
               DELETE FROM t WHERE id = 2;
               INSERT INTO t VALUES (3, 'late');
               BEGIN INSERT INTO t VALUES (4, 'never'); RAISE 'x'; EXCEPTION WHEN OTHERS THEN END;
               RETURN NULL; END $$;
             CREATE TRIGGER \"~~last\" BEFORE TRUNCATE ON t EXECUTE FUNCTION late()",
        )
        .unwrap();
    client.batch_execute("TRUNCATE t").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(sorted(story(&mut client, &token)), ["remove 1", "remove 2"]);
    let one = events.iter().find(|e| e.key == Some(1.into())).unwrap();
    assert_eq!(one.data, Some(json!({"id": 1, "v": "a"})), "the last row that was visible");
}

#[test]
fn a_truncate_trigger_of_another_table_of_the_statement_may_write_to_this_one() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE TABLE other (id int);
             CREATE FUNCTION count_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               UPDATE t SET v = 'counted'; INSERT INTO t VALUES (5, 'counted'); RETURN NULL; END $$;
             CREATE TRIGGER count_down BEFORE TRUNCATE ON other EXECUTE FUNCTION count_down()",
        )
        .unwrap();
    client.batch_execute("TRUNCATE t, other").unwrap();
    assert_eq!(sorted(story(&mut client, &token)), ["remove 1", "remove 2"]);
    let left: i64 = client.query_one("SELECT count(*) FROM t", &[]).unwrap().get(0);
    assert_eq!(left, 0);
}

#[test]
fn rows_that_are_written_when_the_table_is_empty_stay() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE TABLE other (id int);
             CREATE FUNCTION refill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO t VALUES (1, TG_RELID::regclass || ' is empty') ON CONFLICT DO NOTHING;
               RETURN NULL; END $$;
             CREATE TRIGGER a_refill AFTER TRUNCATE ON other EXECUTE FUNCTION refill();
             CREATE TRIGGER a_refill AFTER TRUNCATE ON t EXECUTE FUNCTION refill()",
        )
        .unwrap();
    client.batch_execute("TRUNCATE other, t").unwrap();
    let told = sorted(story(&mut client, &token));
    assert_eq!(told, ["remove 2", "update 1"]);
    // A table made in the same transaction is emptied in place.
    client
        .batch_execute(
            "BEGIN; CREATE TABLE young (id int PRIMARY KEY); SELECT event_source.capture('young');
             INSERT INTO young VALUES (1); TRUNCATE young; INSERT INTO young VALUES (1); COMMIT",
        )
        .unwrap();
    let raw: Vec<String> = client
        .query(
            "SELECT op FROM event_source.changes WHERE collection = 'young' ORDER BY ordinal",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(raw, ["insert", "delete", "insert"]);
}

#[test]
fn a_truncate_that_is_rolled_back_in_an_exception_block_is_forgotten() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "DO $$ BEGIN
               BEGIN TRUNCATE t; RAISE 'no'; EXCEPTION WHEN OTHERS THEN END;
               UPDATE t SET v = 'kept' WHERE id = 1;
             END $$",
        )
        .unwrap();
    assert_eq!(story(&mut client, &token), ["update 1"]);
}

#[test]
fn a_bag_is_emptied_once_though_two_triggers_do_it() {
    let (_cluster, mut client, _) = captured();
    client
        .batch_execute(
            "CREATE TABLE bag (v int); INSERT INTO bag VALUES (1), (1);
             SELECT event_source.capture('bag');
             CREATE FUNCTION sweep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               DELETE FROM bag; INSERT INTO bag VALUES (2); RETURN NULL; END $$;
             CREATE TRIGGER \"~~sweep\" BEFORE TRUNCATE ON bag EXECUTE FUNCTION sweep()",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('bag')");
    client.batch_execute("TRUNCATE bag").unwrap();
    assert_eq!(story(&mut client, &token), ["remove", "remove"]);
}

#[test]
fn truncate_cascades_and_restarts_identities() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE TABLE child (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t int REFERENCES t);
             INSERT INTO child (t) VALUES (1), (2); SELECT event_source.capture('child')",
        )
        .unwrap();
    let children = mint(&mut client, "event_source('child')");
    client.batch_execute("TRUNCATE t RESTART IDENTITY CASCADE").unwrap();
    client
        .batch_execute("INSERT INTO t VALUES (1, 'again'); INSERT INTO child (t) VALUES (1)")
        .unwrap();
    let mut told = story(&mut client, &token);
    assert_eq!(told.pop().as_deref(), Some("add 1"));
    assert_eq!(sorted(told), ["remove 1", "remove 2"]);
    let mut told = story(&mut client, &children);
    assert_eq!(told.pop().as_deref(), Some("add 1"), "the identity starts anew");
    assert_eq!(sorted(told), ["remove 1", "remove 2"]);
}
