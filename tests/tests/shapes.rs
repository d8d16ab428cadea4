//! The columns of a row are known to whoever reads it, whichever transaction wrote them down first
//! and whatever became of that one.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::Cluster;
use event_source_tests::follow::{mint, story};
use postgres::Client;

/// Without a worker: nobody but the test's sessions reads.
fn cluster() -> Cluster {
    let options = Cluster::options().conf("event_source.listen", "");
    options.conf("max_prepared_transactions", 2).start()
}

/// A captured table that no row was ever logged of, and a token.
fn captured(cluster: &Cluster) -> (Client, String) {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    (client, token)
}

fn shapes(client: &mut Client) -> i64 {
    client.query_one("SELECT count(*) FROM event_source.shape", &[]).unwrap().get(0)
}

#[test]
fn a_transaction_that_is_rolled_back_takes_the_columns_with_it_and_the_next_writes_them_again() {
    let cluster = cluster();
    let (mut client, token) = captured(&cluster);
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1); ROLLBACK").unwrap();
    assert_eq!(shapes(&mut client), 0);
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    client.batch_execute("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(shapes(&mut client), 1, "the columns are kept once");
    assert_eq!(story(&mut cluster.connect(), &token), ["add 2", "add 3"]);
}

#[test]
fn a_savepoint_that_is_rolled_back_takes_the_columns_with_it() {
    let cluster = cluster();
    let (mut client, token) = captured(&cluster);
    client
        .batch_execute(
            "BEGIN;
             SAVEPOINT a; SAVEPOINT b; INSERT INTO t VALUES (1); RELEASE b; ROLLBACK TO a;
             INSERT INTO t VALUES (2);
             SAVEPOINT c; INSERT INTO t VALUES (3); ROLLBACK TO c;
             INSERT INTO t VALUES (4); COMMIT",
        )
        .unwrap();
    assert_eq!(story(&mut cluster.connect(), &token), ["add 2", "add 4"]);
}

#[test]
fn columns_written_under_a_savepoint_that_is_kept_are_not_written_again() {
    let cluster = cluster();
    let (mut client, token) = captured(&cluster);
    client
        .batch_execute(
            "BEGIN; SAVEPOINT a; INSERT INTO t VALUES (1); RELEASE a; INSERT INTO t VALUES (2); COMMIT",
        )
        .unwrap();
    assert_eq!(shapes(&mut client), 1);
    assert_eq!(story(&mut cluster.connect(), &token), ["add 1", "add 2"]);
}

#[test]
fn nobody_rests_on_columns_that_a_prepared_transaction_wrote() {
    let cluster = cluster();
    let (mut client, token) = captured(&cluster);
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'").unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    cluster.connect().batch_execute("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(story(&mut cluster.connect(), &token), ["add 2", "add 3"]);
    client.batch_execute("ROLLBACK PREPARED 'one'").unwrap();
    client.batch_execute("INSERT INTO t VALUES (4)").unwrap();
    assert_eq!(story(&mut cluster.connect(), &token), ["add 2", "add 3", "add 4"]);
}

#[test]
fn two_sessions_that_write_the_same_columns_at_once_do_not_wait_for_each_other() {
    let cluster = cluster();
    let (mut one, token) = captured(&cluster);
    let mut other = cluster.connect();
    other.batch_execute("SET lock_timeout = '5s'").unwrap();
    one.batch_execute("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    other.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    one.batch_execute("COMMIT").unwrap();
    assert_eq!(story(&mut cluster.connect(), &token), ["add 2", "add 1"]);
}

#[test]
fn a_session_that_made_the_extension_anew_logs_rows_that_can_be_read() {
    let cluster = cluster();
    let (mut client, _) = captured(&cluster);
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    client
        .batch_execute(
            "DROP EXTENSION event_source CASCADE; CREATE EXTENSION event_source;
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(shapes(&mut client), 1);
    assert_eq!(story(&mut client, &token), ["add 2"]);
}
