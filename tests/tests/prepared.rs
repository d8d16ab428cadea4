//! Two-phase commit: whoever commits a prepared transaction and whatever dies in between, its
//! changes are told once, behind what it depends on and before what depends on it.
//!
//! `PREPARED` sets how many transactions the large run prepares, `PREPARED_SEED` its random order.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod crash;
mod kept;
mod many;
mod order;
pub(crate) mod race;
pub(crate) mod rebuild;
mod replicated;

use event_source_tests::consume::sql::event_page;
use event_source_tests::follow::{drain, mint, refused, story};
use event_source_tests::{Cluster, Stop};
use postgres::Client;
use rebuild::{Rows, apply, table};

/// A cluster that allows prepared transactions, with a captured table `t (id, v)` of ten rows and
/// a token from when it was empty. Without a worker: nobody but the test's sessions stamps.
fn captured() -> (Cluster, Client, String) {
    let cluster = Cluster::options()
        .conf("event_source.listen", "")
        .conf("max_prepared_transactions", 20)
        .start();
    let (client, token) = with_table(&cluster);
    (cluster, client, token)
}

fn with_table(cluster: &Cluster) -> (Client, String) {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t SELECT n, 0 FROM generate_series(1, 10) n").unwrap();
    (client, token)
}

/// Does some work and prepares it under a name.
fn prepare(client: &mut Client, name: &str, work: &str) {
    client.batch_execute(&format!("BEGIN; {work}; PREPARE TRANSACTION '{name}'")).unwrap();
}

fn commit(client: &mut Client, name: &str) {
    client.batch_execute(&format!("COMMIT PREPARED '{name}'")).unwrap();
}

fn roll_back(client: &mut Client, name: &str) {
    client.batch_execute(&format!("ROLLBACK PREPARED '{name}'")).unwrap();
}

/// The events from the empty table on rebuild the table; gives how many there were.
#[track_caller]
fn assert_exact(client: &mut Client, token: &str) -> usize {
    let events = drain(client, token, None);
    let rebuilt = apply(Rows::new(), &events).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(rebuilt, table(client));
    events.len()
}

#[test]
fn a_prepared_transaction_is_told_when_it_is_committed_and_not_before() {
    let (_cluster, mut client, token) = captured();
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 3");
    assert_eq!(story(&mut client, &token).len(), 10, "told while it is only prepared");
    commit(&mut client, "p");
    let told = story(&mut client, &token);
    assert_eq!(told[10..], ["update 3"], "not told when COMMIT PREPARED answers");
    assert_exact(&mut client, &token);
}

#[test]
fn a_prepared_transaction_that_is_rolled_back_never_happened() {
    let (_cluster, mut client, token) = captured();
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 3");
    roll_back(&mut client, "p");
    client.batch_execute("UPDATE t SET v = 2 WHERE id = 3").unwrap();
    assert_eq!(story(&mut client, &token)[10..], ["update 3"]);
    assert_exact(&mut client, &token);
}

#[test]
fn a_prepared_transaction_without_changes_is_none_of_ours() {
    let (_cluster, mut client, token) = captured();
    client.batch_execute("CREATE TABLE other (v int)").unwrap();
    prepare(&mut client, "p", "INSERT INTO other VALUES (1)");
    commit(&mut client, "p");
    prepare(&mut client, "q", "SAVEPOINT s; DELETE FROM t; ROLLBACK TO s");
    commit(&mut client, "q");
    assert_eq!(assert_exact(&mut client, &token), 10);
}

#[test]
fn prepared_transactions_are_found_beside_one_with_more_savepoints_than_a_snapshot_lists() {
    let (cluster, mut client, token) = captured();
    let mut other = cluster.connect();
    let savepoints: String = (0..100)
        .map(|n| format!("SAVEPOINT s{n}; INSERT INTO t VALUES ({}, 0);", 100 + n))
        .collect();
    other.batch_execute(&format!("BEGIN; {savepoints}")).unwrap();
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 3");
    let later = mint(&mut client, "event_source('t')");
    commit(&mut client, "p");
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(story(&mut client, &later).len(), 101);
    assert_exact(&mut client, &token);
}

#[test]
fn what_was_rolled_back_to_a_savepoint_is_not_prepared() {
    let (_cluster, mut client, token) = captured();
    prepare(
        &mut client,
        "p",
        "UPDATE t SET v = 1 WHERE id = 1;
         SAVEPOINT a; UPDATE t SET v = 2 WHERE id IN (1, 2);
         SAVEPOINT b; INSERT INTO t SELECT n, n FROM generate_series(100, 400) n;
         ROLLBACK TO b; DELETE FROM t WHERE id = 10; RELEASE a;
         SAVEPOINT c; DELETE FROM t; ROLLBACK TO c",
    );
    commit(&mut client, "p");
    let mut told = story(&mut client, &token).split_off(10);
    told.sort();
    assert_eq!(told, ["remove 10", "update 1", "update 2"]);
    assert_exact(&mut client, &token);
}

#[test]
fn large_prepared_transactions_are_told_whole_at_any_size_of_page() {
    let (_cluster, mut client, token) = captured();
    for (rows, name) in [(300, "spilled"), (12_000, "by key")] {
        let more = format!(
            "INSERT INTO t SELECT n, 1 FROM generate_series(11, {rows}) n; UPDATE t SET v = v + 1"
        );
        prepare(&mut client, name, &more);
        commit(&mut client, name);
        assert_exact(&mut client, &token);
        prepare(&mut client, "less", "DELETE FROM t WHERE id > 10");
        commit(&mut client, "less");
        assert_exact(&mut client, &token);
    }
    let (mut cursor, mut events) = (None, Vec::new());
    loop {
        let page = event_page(&mut client, &token, cursor.as_deref(), 777, &["prev"]).unwrap();
        events.extend(page.events);
        cursor = Some(page.cursor);
        if !page.has_next {
            break;
        }
    }
    assert_eq!(apply(Rows::new(), &events).unwrap(), table(&mut client));
}

#[test]
fn another_session_may_resolve_it_after_the_first_is_gone() {
    let (cluster, mut client, token) = captured();
    let mut other = cluster.connect();
    for (id, resolve) in [(1, commit as fn(&mut Client, &str)), (2, roll_back), (3, commit)] {
        let name = format!("p{id}");
        prepare(&mut other, &name, &format!("UPDATE t SET v = 7 WHERE id = {id}"));
        // What the session captures next is a transaction of its own.
        other.batch_execute(&format!("UPDATE t SET v = 8 WHERE id = {id} + 6")).unwrap();
        drop(other);
        resolve(&mut client, &name);
        other = cluster.connect();
    }
    let told = story(&mut client, &token);
    assert_eq!(told[10..], ["update 7", "update 1", "update 8", "update 9", "update 3"]);
    assert_exact(&mut client, &token);
}

#[test]
fn a_table_may_be_captured_in_a_prepared_transaction() {
    let (_cluster, mut client, token) = captured();
    client.batch_execute("CREATE TABLE u (id int PRIMARY KEY)").unwrap();
    prepare(&mut client, "p", "SELECT event_source.capture('u'); INSERT INTO u VALUES (1)");
    let early = refused(client.query_one("SELECT event_source('u')", &[]));
    assert_eq!(early.code, "55000", "{early:?}");
    commit(&mut client, "p");
    let source = mint(&mut client, "event_source('u')");
    client.batch_execute("INSERT INTO u VALUES (2)").unwrap();
    assert_eq!(story(&mut client, &source), ["add 2"]);
    assert_exact(&mut client, &token);
}

#[test]
fn the_status_counts_prepared_transactions() {
    let (_cluster, mut client, _token) = captured();
    let count = |client: &mut Client| -> (i32, i32) {
        let row = client
            .query_one("SELECT prepared, prepared_unstamped FROM event_source.status", &[])
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(count(&mut client), (0, 0));
    for id in 1..=3 {
        prepare(&mut client, &format!("p{id}"), &format!("UPDATE t SET v = 1 WHERE id = {id}"));
    }
    assert_eq!(count(&mut client), (3, 0));
    commit(&mut client, "p2");
    roll_back(&mut client, "p1");
    assert_eq!(count(&mut client), (1, 0));
    commit(&mut client, "p3");
    assert_eq!(count(&mut client), (0, 0));
}

#[test]
fn a_database_without_the_extension_commits_prepared_transactions_as_ever() {
    let (cluster, _client, _token) = captured();
    let mut other = cluster.connect_to("postgres");
    prepare(&mut other, "p", "CREATE TABLE a (v int)");
    commit(&mut other, "p");
    assert_eq!(other.query("SELECT * FROM a", &[]).unwrap().len(), 0);
}

#[test]
fn a_restart_between_prepare_and_commit_changes_nothing() {
    let (mut cluster, mut client, token) = captured();
    for (id, how) in [(1, Stop::Fast), (2, Stop::Immediate)] {
        prepare(&mut client, &format!("p{id}"), &format!("UPDATE t SET v = 1 WHERE id = {id}"));
        cluster.restart(how);
        client = cluster.connect();
        client.batch_execute(&format!("UPDATE t SET v = 2 WHERE id = {id} + 5")).unwrap();
        commit(&mut client, &format!("p{id}"));
    }
    assert_eq!(story(&mut client, &token)[10..], ["update 6", "update 1", "update 7", "update 2"]);
    assert_exact(&mut client, &token);
}

/// The hook that notices COMMIT PREPARED stands around every statement of this kind.
#[test]
fn the_errors_of_other_statements_pass_as_they_are() {
    let (_cluster, mut client, _token) = captured();
    let raise =
        "RAISE EXCEPTION USING errcode = 'NM000', message = 'mine', table = 'y', constraint = 'x'";
    for statement in [
        format!("DO $$ BEGIN {raise}; END $$"),
        format!("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN {raise}; END $$; CALL p()"),
    ] {
        let error = client.batch_execute(&statement).unwrap_err();
        let said = error.as_db_error().unwrap();
        assert_eq!((said.code().code(), said.message()), ("NM000", "mine"));
        assert_eq!((said.table(), said.constraint()), (Some("y"), Some("x")));
        assert!(said.where_().is_some_and(|at| at.contains("RAISE")), "{said:?}");
    }
    let error = client.batch_execute("CREATE TABLE bad (x nosuchtype)").unwrap_err();
    assert!(error.as_db_error().unwrap().position().is_some());
}
