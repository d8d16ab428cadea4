//! Transactions of several runs of change rows: each row is told once, whichever runs have some of it, and a
//! page goes on behind any row.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::collections::BTreeMap;

use event_source_tests::consume::{Event, Kind, sql};
use event_source_tests::follow::{captured, drain, explain};
use postgres::Client;
use serde_json::json;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, pad text DEFAULT repeat('x', 60))";

/// In which row each event is, what was there before and what is there now.
type Told = BTreeMap<i64, (Kind, Option<String>, Option<String>)>;

fn told(events: &[Event]) -> Told {
    let text = |image: &Option<serde_json::Value>| Some(image.as_ref()?["v"].as_str()?.to_owned());
    let told: Told = events
        .iter()
        .map(|event| {
            let key = event.key.as_ref().unwrap().as_i64().unwrap();
            let (data, prev) = (text(&event.data), text(&event.prev));
            let after = if event.kind == Kind::Remove { None } else { data };
            (key, (event.kind, prev, after))
        })
        .collect();
    assert_eq!(told.len(), events.len(), "a row is told twice");
    told
}

/// Rows that are there, as `told` has them.
fn rows(client: &mut Client) -> BTreeMap<i64, String> {
    let rows = client.query("SELECT id::bigint, v FROM t", &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn run(client: &mut Client, script: &str) {
    client.batch_execute(script).unwrap_or_else(|error| panic!("{script}: {}", explain(&error)));
}

#[test]
fn a_row_that_was_changed_in_several_runs_is_told_once() {
    const ROWS: i64 = 20_000;
    let (_cluster, mut client, token) = captured("t", TABLE);
    run(
        &mut client,
        &format!(
            "INSERT INTO t SELECT n, 'old' FROM generate_series(1, {ROWS}) n ORDER BY md5(n::text)"
        ),
    );
    let first = drain(&mut client, &token, None);
    assert_eq!(told(&first).len() as i64, ROWS);
    let cursor = first.last().unwrap().cursor.clone();
    // Each row is updated three times, a third then deleted, a few come and go again.
    run(
        &mut client,
        "BEGIN; UPDATE t SET v = 'one'; UPDATE t SET v = 'two';
         SAVEPOINT lost; UPDATE t SET v = 'lost'; DELETE FROM t WHERE id % 5 = 0; ROLLBACK TO lost;
         SAVEPOINT kept; UPDATE t SET v = 'three ' || id; RELEASE kept;
         DELETE FROM t WHERE id % 3 = 0; UPDATE t SET id = id + 1000000 WHERE id % 1000 = 1;
         INSERT INTO t SELECT n, 'gone' FROM generate_series(2000001, 2000500) n;
         DELETE FROM t WHERE id > 2000000; COMMIT",
    );
    let second = told(&drain(&mut client, &token, cursor));
    let now = rows(&mut client);
    for id in 1..=ROWS {
        let told = second.get(&id).unwrap_or_else(|| panic!("row {id} is not told"));
        let old = Some("old".to_owned());
        let expected = match now.get(&id) {
            Some(v) => (Kind::Update, old, Some(v.clone())),
            None => (Kind::Remove, old, None),
        };
        assert_eq!(told, &expected, "row {id}");
    }
    for (id, v) in now.range(ROWS + 1..) {
        assert_eq!(second.get(id), Some(&(Kind::Add, None, Some(v.clone()))), "row {id}");
    }
    let added = now.range(ROWS + 1..).count();
    assert_eq!(second.len(), ROWS as usize + added, "what came and went is not told");
}

#[test]
fn a_page_goes_on_behind_any_row() {
    let (_cluster, mut client, token) = captured("t", TABLE);
    // In opposite orders, so that each run has something of everywhere.
    run(
        &mut client,
        "BEGIN; INSERT INTO t SELECT n, 'a' FROM generate_series(1, 12000) n;
         UPDATE t SET v = 'b' FROM (SELECT n FROM generate_series(12000, 1, -1) n) x WHERE id = n;
         COMMIT",
    );
    let all = drain(&mut client, &token, None);
    assert_eq!(all.len(), 12_000);
    assert!(all.iter().all(|event| event.data.as_ref().unwrap()["v"] == json!("b")));
    for at in (0..all.len() - 1).step_by(97).chain([0, 1, 2, all.len() - 2, all.len() - 1]) {
        let cursor = all[at].cursor.as_deref();
        let page = sql::event_page(&mut client, &token, cursor, 3, &["prev"]).unwrap();
        let behind = &all[at + 1..all.len().min(at + 4)];
        assert_eq!(page.events, behind, "behind event {at}");
    }
}

#[test]
fn savepoints_that_capture_little_do_not_each_write_a_run() {
    let (_cluster, mut client, token) = captured("t", TABLE);
    run(
        &mut client,
        "DO $$ BEGIN
           FOR n IN 1..30000 LOOP
             BEGIN
               INSERT INTO t VALUES (n, 'a');
               IF n % 10 = 0 THEN RAISE division_by_zero; END IF;
             EXCEPTION WHEN division_by_zero THEN NULL;
             END;
           END LOOP;
         END $$",
    );
    let told = told(&drain(&mut client, &token, None));
    assert_eq!(told.len(), 27_000);
    assert!(told.keys().all(|id| id % 10 != 0), "what was rolled back is not told");
    let runs: i64 = client
        .query_one("SELECT count(DISTINCT substr(place, 1, 4)) FROM event_source.change_0", &[])
        .unwrap()
        .get(0);
    assert!((2..=10).contains(&runs), "{runs} runs of some 3 MB");
}

/// We make these rows ourselves, and everything else of PostgreSQL's reads them: dumps, CLUSTER, VACUUM, SQL.
#[test]
fn rows_of_the_log_are_to_the_bit_as_postgresql_makes_them() {
    let (_cluster, mut client, _token) = captured("t", TABLE);
    run(&mut client, "CREATE EXTENSION pageinspect");
    // Headers of one byte end within these, and rows that are stored out of line begin.
    for length in (0..200).chain([1_000, 1_900, 2_100, 20_000]) {
        let insert =
            format!("INSERT INTO t SELECT {length}, left(string_agg(md5(n::text), ''), {length})");
        run(&mut client, &format!("{insert} FROM generate_series(1, {length} / 32 + 1) n"));
    }
    run(&mut client, "INSERT INTO t SELECT n, 'large' FROM generate_series(100001, 120000) n");
    let tables = [
        ("stamp_0", "txn_ts + 0, head || ''::bytea, payload || ''::bytea", 200),
        ("change_0", "xid, place || ''::bytea, payload || ''::bytea", 1_000),
        ("shape", "id + 0, shape || ''::bytea", 1),
    ];
    for (table, columns, least) in tables {
        run(
            &mut client,
            &format!(
                "CREATE TABLE {table}_again (LIKE event_source.{table});
                 INSERT INTO {table}_again SELECT {columns} FROM event_source.{table}"
            ),
        );
        // Those with a pointer to where the rest is stored have another one each time.
        let on_pages = |table: &str| {
            format!(
                "SELECT t_infomask & 3, t_infomask2 & 2047, t_hoff, t_bits, t_data
                 FROM generate_series(0, pg_relation_size('{table}') / 8192 - 1) block,
                      heap_page_items(get_raw_page('{table}', block::int))
                 WHERE t_infomask & 4 = 0"
            )
        };
        let (ours, theirs) =
            (on_pages(&format!("event_source.{table}")), on_pages(&format!("{table}_again")));
        let count: i64 =
            client.query_one(&format!("SELECT count(*) FROM ({ours}) o"), &[]).unwrap().get(0);
        assert!(count >= least, "{table} has {count} rows");
        for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
            let sql = format!("SELECT count(*) FROM ({one} EXCEPT ALL {other}) d");
            let differ: i64 = client.query_one(&sql, &[]).unwrap().get(0);
            assert_eq!(differ, 0, "of {count} rows of {table}");
        }
    }
}
