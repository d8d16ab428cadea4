//! Everything that changes rows: each kind of statement, trigger, rule and constraint that writes is
//! captured as what it did, once.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::follow::{self, drain, mint, refused, sorted, story};
use event_source_tests::wait::LONG;
use postgres::Client;
use serde_json::json;

/// A captured table `t (id, v)` with rows 1 to 3.
fn captured() -> (Cluster, Client, String) {
    follow::captured(
        "t",
        "CREATE TABLE t (id int PRIMARY KEY, v int);
         INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)",
    )
}

#[test]
fn update_delete_and_insert_of_one_key_in_one_transaction_is_one_update() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "BEGIN; UPDATE t SET v = 11 WHERE id = 1; DELETE FROM t WHERE id = 1;
             INSERT INTO t VALUES (1, 12); COMMIT",
        )
        .unwrap();
    client
        .batch_execute(
            "WITH gone AS (DELETE FROM t WHERE id = 2 RETURNING *)
             INSERT INTO t SELECT id + 100, v FROM gone",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(events[0].prev, Some(json!({"id": 1, "v": 10})));
    assert_eq!(events[0].data, Some(json!({"id": 1, "v": 12})));
    let mut told = story(&mut client, &token);
    assert_eq!(told.remove(0), "update 1");
    assert_eq!(sorted(told), ["add 102", "remove 2"]);
}

#[test]
fn keys_that_are_swapped_or_shifted_keep_their_rows_apart() {
    let (_cluster, mut client, _) = captured();
    client
        .batch_execute(
            "CREATE TABLE s (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int);
             INSERT INTO s VALUES (1, 10), (2, 20), (3, 30); SELECT event_source.capture('s')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('s')");
    client.batch_execute("UPDATE s SET id = 3 - id WHERE id < 3").unwrap();
    client.batch_execute("UPDATE s SET id = id + 1").unwrap();
    let events = drain(&mut client, &token, None);
    let last = |key: i64| {
        let event = events.iter().rev().find(|e| e.key == Some(key.into())).unwrap();
        event.data.clone().unwrap()["v"].as_i64().unwrap()
    };
    assert_eq!(events.len(), 2 + 4);
    assert_eq!((last(2), last(3), last(4)), (20, 10, 30));
}

#[test]
fn foreign_keys_cascade_into_captured_tables() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE TABLE cascade (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE);
             CREATE TABLE nulled (id int PRIMARY KEY, t int REFERENCES t ON DELETE SET NULL);
             INSERT INTO cascade VALUES (1, 1), (2, 2); INSERT INTO nulled VALUES (1, 2);
             SELECT event_source.capture('cascade'), event_source.capture('nulled')",
        )
        .unwrap();
    let cascade = mint(&mut client, "event_source('cascade')");
    let nulled = mint(&mut client, "event_source('nulled')");
    client.batch_execute("UPDATE t SET id = 5 WHERE id = 1").unwrap();
    client.batch_execute("DELETE FROM t WHERE id = 2").unwrap();
    assert_eq!(story(&mut client, &cascade), ["update 1", "remove 2"]);
    let events = drain(&mut client, &nulled, None);
    assert_eq!(events[0].data, Some(json!({"id": 1, "t": null})));
    assert_eq!(sorted(story(&mut client, &token)), ["add 5", "remove 1", "remove 2"]);
}

#[test]
fn rules_and_views_write_into_captured_tables() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE VIEW simple AS SELECT id, v FROM t WHERE v < 1000 WITH CHECK OPTION;
             CREATE VIEW ruled AS SELECT id FROM t;
             CREATE RULE r AS ON INSERT TO ruled DO INSTEAD INSERT INTO t VALUES (NEW.id, 0);
             CREATE TABLE source (id int);
             CREATE RULE also AS ON INSERT TO source DO ALSO UPDATE t SET v = v + 1 WHERE id = NEW.id;
             CREATE VIEW handled AS SELECT id FROM t;
             CREATE FUNCTION handle() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN DELETE FROM t WHERE id = OLD.id; RETURN OLD; END';
             CREATE TRIGGER h INSTEAD OF DELETE ON handled FOR EACH ROW EXECUTE FUNCTION handle()",
        )
        .unwrap();
    client.batch_execute("UPDATE simple SET v = 11 WHERE id = 1").unwrap();
    client.batch_execute("INSERT INTO ruled VALUES (7)").unwrap();
    client.batch_execute("INSERT INTO source VALUES (2)").unwrap();
    client.batch_execute("DELETE FROM handled WHERE id = 3").unwrap();
    assert_eq!(story(&mut client, &token), ["update 1", "add 7", "update 2", "remove 3"]);
}

#[test]
fn generated_identity_and_default_columns_are_in_the_image_as_stored() {
    let (_cluster, mut client, _) = captured();
    client
        .batch_execute(
            "CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int DEFAULT 4,
               twice int GENERATED ALWAYS AS (n * 2) STORED, made text DEFAULT lower('X'));
             SELECT event_source.capture('g')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('g')");
    client.batch_execute("INSERT INTO g DEFAULT VALUES").unwrap();
    client.batch_execute("UPDATE g SET n = 5").unwrap();
    client.batch_execute("INSERT INTO g (id) OVERRIDING SYSTEM VALUE VALUES (9)").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(events[0].data, Some(json!({"id": 1, "n": 4, "twice": 8, "made": "x"})));
    assert_eq!(events[1].data, Some(json!({"id": 1, "n": 5, "twice": 10, "made": "x"})));
    assert_eq!(events[2].key, Some(9.into()));
}

#[test]
fn what_deferred_triggers_write_at_commit_is_of_the_same_transaction() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE FUNCTION balance() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               UPDATE t SET v = (SELECT sum(v) FROM t WHERE id <> 3) WHERE id = 3; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER balance AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW WHEN (NEW.id <> 3) EXECUTE FUNCTION balance()",
        )
        .unwrap();
    client
        .batch_execute(
            "BEGIN; UPDATE t SET v = 1 WHERE id = 1; UPDATE t SET v = 2 WHERE id = 2; COMMIT",
        )
        .unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["update 1", "update 2", "update 3"]);
    assert_eq!(events[2].data, Some(json!({"id": 3, "v": 3})));
    assert!(events.iter().all(|e| e.txn_ts == events[0].txn_ts), "one transaction, one place");
}

#[test]
fn before_triggers_change_and_suppress_what_is_captured() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE FUNCTION censor() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF NEW.v < 0 THEN RETURN NULL; END IF; NEW.v := NEW.v * 2; RETURN NEW; END $$;
             CREATE TRIGGER censor BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION censor()",
        )
        .unwrap();
    client.batch_execute("INSERT INTO t VALUES (4, 4), (5, -5)").unwrap();
    client.batch_execute("UPDATE t SET v = -1 WHERE id = 1").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["add 4"]);
    assert_eq!(events[0].data, Some(json!({"id": 4, "v": 8})));
}

#[test]
fn procedures_that_commit_and_exception_blocks_keep_their_transactions_apart() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "CREATE PROCEDURE work() LANGUAGE plpgsql AS $$ BEGIN
               UPDATE t SET v = 11 WHERE id = 1; COMMIT;
               UPDATE t SET v = 21 WHERE id = 2; ROLLBACK;
               FOR i IN 1..3 LOOP
                 BEGIN
                   INSERT INTO t VALUES (i + 2, i);
                 EXCEPTION WHEN unique_violation THEN
                   UPDATE t SET v = 31 WHERE id = i + 2;
                 END;
               END LOOP; END $$;",
        )
        .unwrap();
    client.batch_execute("CALL work()").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["update 1", "update 3", "add 4", "add 5"]);
    assert_ne!(events[0].txn_ts, events[1].txn_ts);
    assert!(events[1..].iter().all(|e| e.txn_ts == events[1].txn_ts));
}

#[test]
fn copy_in_its_forms_and_rows_at_a_cursor_are_captured() {
    let (cluster, mut client, token) = captured();
    let _ = cluster.psql("COPY t (v, id) FROM STDIN (FORMAT csv);\n40,4\n50,5\n\\.\n");
    client
        .batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT * FROM t WHERE id = 4 FOR UPDATE")
        .unwrap();
    client.batch_execute("MOVE c; DELETE FROM t WHERE CURRENT OF c; COMMIT").unwrap();
    assert_eq!(story(&mut client, &token), ["add 4", "add 5", "remove 4"]);
    let _ = cluster.psql(
        "BEGIN; CREATE TABLE frozen (id int PRIMARY KEY); SELECT event_source.capture('frozen');\n\
         COPY frozen FROM STDIN (FREEZE);\n1\n2\n\\.\nDELETE FROM frozen WHERE id = 1; COMMIT;\n",
    );
    let raw: i64 = client
        .query_one("SELECT count(*) FROM event_source.changes WHERE collection = 'frozen'", &[])
        .unwrap()
        .get(0);
    assert_eq!(raw, 3);
}

#[test]
fn merge_and_on_conflict_tell_what_became_of_each_row() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute(
            "INSERT INTO t VALUES (1, 0), (4, 40) ON CONFLICT (id) DO UPDATE SET v = t.v + 1
             WHERE t.id = 1",
        )
        .unwrap();
    client
        .batch_execute(
            "MERGE INTO t USING (VALUES (1), (2), (9)) AS s (id) ON t.id = s.id
             WHEN MATCHED AND s.id = 1 THEN DELETE
             WHEN MATCHED THEN DO NOTHING
             WHEN NOT MATCHED THEN INSERT VALUES (s.id, 90)",
        )
        .unwrap();
    client.batch_execute("INSERT INTO t VALUES (9, 0) ON CONFLICT DO NOTHING").unwrap();
    let told = sorted(story(&mut client, &token));
    assert_eq!(told, ["add 4", "add 9", "remove 1", "update 1"]);
}

#[test]
fn a_row_of_sixteen_hundred_columns_is_one_event() {
    let (_cluster, mut client, _) = captured();
    let columns: Vec<String> = (2..=1600).map(|n| format!("c{n} bool")).collect();
    client
        .batch_execute(&format!(
            "CREATE TABLE wide (c1 int PRIMARY KEY, {}); SELECT event_source.capture('wide');",
            columns.join(", ")
        ))
        .unwrap();
    let token = mint(&mut client, "event_source('wide')");
    client.batch_execute("INSERT INTO wide (c1, c1600) VALUES (1, true)").unwrap();
    client.batch_execute("UPDATE wide SET c800 = false").unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(story(&mut client, &token), ["add 1", "update 1"]);
    let shown = events[1].data.as_ref().unwrap().as_object().unwrap();
    assert_eq!(shown.len(), 1600);
    assert_eq!((shown["c800"].clone(), shown["c1600"].clone()), (json!(false), json!(true)));
}

#[test]
fn rows_of_a_constraint_that_fails_at_commit_never_happened() {
    let (_cluster, mut client, token) = captured();
    client
        .batch_execute("ALTER TABLE t ADD CONSTRAINT one UNIQUE (v) DEFERRABLE INITIALLY DEFERRED")
        .unwrap();
    refused(client.batch_execute("BEGIN; INSERT INTO t VALUES (4, 10); COMMIT"));
    client.batch_execute("INSERT INTO t VALUES (4, 40)").unwrap();
    assert_eq!(story(&mut client, &token), ["add 4"]);
}

#[test]
fn an_update_that_waited_for_another_one_tells_the_row_that_it_found() {
    let (cluster, mut client, token) = captured();
    let mut first = cluster.connect();
    first.batch_execute("BEGIN; UPDATE t SET v = 11 WHERE id = 1").unwrap();
    let mut second = cluster.connect();
    let waiting =
        std::thread::spawn(move || second.batch_execute("UPDATE t SET v = v + 1 WHERE id = 1"));
    event_source_tests::wait_until("the second to wait", LONG, || {
        let waits = "SELECT count(*) > 0 FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE t SET v = v + 1%'";
        client.query_one(waits, &[]).unwrap().get(0)
    });
    first.batch_execute("COMMIT").unwrap();
    waiting.join().unwrap().unwrap();
    let events = drain(&mut client, &token, None);
    assert_eq!(events[1].prev, Some(json!({"id": 1, "v": 11})));
    assert_eq!(events[1].data, Some(json!({"id": 1, "v": 12})));
}
