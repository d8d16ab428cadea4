//! Databases that a log came along with: recovered to a point in the past, cloned or upgraded. Whoever lost nothing
//! goes on, whoever did is told, and two histories never mix.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::consume::sql;
use event_source_tests::follow::{drain, keys_behind, mint, refused, story, where_to_go_on};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Stop, wait_until};
use postgres::Client;

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v bigint, w bigint);
    SELECT event_source.capture('t'); INSERT INTO t VALUES (1)";

fn insert(client: &mut Client, ids: std::ops::RangeInclusive<i64>) {
    for id in ids {
        client.execute("INSERT INTO t VALUES ($1, $1, $1)", &[&id]).unwrap();
    }
}

/// The cursor at the end of what is there now.
fn end(client: &mut Client, token: &str) -> String {
    sql::event_page(client, token, None, 1000, &[]).unwrap().cursor
}

/// A cluster that archives its WAL, with a captured table `t` that has row 1, and the archive.
fn archiving() -> (Cluster, Client, std::path::PathBuf) {
    let cluster = Cluster::options().fresh().conf("archive_mode", "on").start();
    let archive = cluster.folder("archive");
    let into = archive.display();
    cluster.set("archive_command", &format!("test ! -f {into}/%f && cp %p {into}/%f"));
    cluster.reload();
    let mut client = cluster.connect();
    client.batch_execute(TABLE).unwrap();
    (cluster, client, archive)
}

/// Waits until everything up to now is in the archive.
fn archive_all(client: &mut Client) {
    let row = client.query_one("SELECT pg_walfile_name(pg_switch_wal())", &[]).unwrap();
    let last: String = row.get(0);
    wait_until("the WAL to be archived", LONG, || {
        let query = "SELECT coalesce(last_archived_wal >= $1, false) FROM pg_stat_archiver";
        client.query_one(query, &[&last]).unwrap().get(0)
    });
}

#[test]
fn after_recovery_to_a_point_cursors_from_before_it_go_on_and_those_behind_it_are_told() {
    let (primary, mut client, archive) = archiving();
    let first = mint(&mut client, "event_source('t')");
    insert(&mut client, 2..=5);
    let copy = primary.copy();
    insert(&mut client, 6..=10);
    let before = drain(&mut client, &first, None);
    let at_the_point = end(&mut client, &first);
    let minted_there = mint(&mut client, "event_source('t', fields => '{w}', filter => 'v > 3')");
    client.execute("SELECT pg_create_restore_point('here')", &[]).unwrap();
    insert(&mut client, 11..=15);
    let behind = end(&mut client, &first);
    let minted_behind = mint(&mut client, "event_source('t')");
    insert(&mut client, 16..=16);
    let lost = drain(&mut client, &first, None).last().and_then(|event| event.txn_ts);
    archive_all(&mut client);

    let mut copy = copy;
    copy.recover_until(&archive, "recovery_target_name", "here");
    copy.launch();
    copy.wait_for_primary();
    let mut there = copy.connect();
    insert(&mut there, 100..=102);
    for event in &before {
        let key = event.key.as_ref().unwrap().as_i64().unwrap();
        let wanted: Vec<i64> = (key + 1..=10).chain(100..=102).collect();
        let cursor = event.cursor.as_ref().unwrap();
        assert_eq!(keys_behind(&mut there, &first, cursor), wanted, "behind {key}");
    }
    assert_eq!(keys_behind(&mut there, &first, &at_the_point), [100, 101, 102]);
    assert_eq!(story(&mut there, &minted_there), ["add 100", "add 101", "add 102"]);
    for (token, cursor) in [(&first, Some(behind.as_str())), (&minted_behind, None)] {
        let switch = where_to_go_on(&mut there, token, cursor);
        assert_eq!(keys_behind(&mut there, token, &switch), [100, 101, 102]);
    }
    let told = drain(&mut there, &first, None);
    let times: Vec<i64> = told.iter().filter_map(|event| event.txn_ts).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert!(
        times[9] > lost.unwrap(),
        "a position that the history before gave to another transaction"
    );
    // The server that goes on beside it does not take the other's history for its own.
    let of_the_copy = end(&mut there, &first);
    let switch = where_to_go_on(&mut client, &first, Some(&of_the_copy));
    assert_eq!(keys_behind(&mut client, &first, &switch).last(), Some(&16));
    assert_eq!(keys_behind(&mut client, &first, &at_the_point), (11..=16).collect::<Vec<_>>());
}

/// `CREATE DATABASE clone TEMPLATE app`, for which nobody may be connected to `app`, the worker neither.
fn clone_app(cluster: &Cluster) -> Client {
    cluster.set("event_source.listen", "");
    cluster.reload();
    let mut admin = cluster.connect_to("postgres");
    wait_until("everybody to leave", LONG, || {
        admin.batch_execute("CREATE DATABASE clone TEMPLATE app").is_ok()
    });
    cluster.connect_to("clone")
}

#[test]
fn a_clone_has_a_history_of_its_own_that_goes_on_from_where_it_was_made() {
    let cluster = Cluster::options().fresh().start();
    let mut client = cluster.connect();
    client.batch_execute(TABLE).unwrap();
    let first = mint(&mut client, "event_source('t')");
    insert(&mut client, 2..=6);
    let mut cursors: Vec<(String, i64)> = drain(&mut client, &first, None)
        .iter()
        .map(|event| (event.cursor.clone().unwrap(), event.key.as_ref().unwrap().as_i64().unwrap()))
        .collect();
    cursors.push((end(&mut client, &first), 6));
    let last = mint(&mut client, "event_source('t', fields => '{w}', filter => 'v > 3')");
    drop(client);

    let mut clone = clone_app(&cluster);
    let mut client = cluster.connect();
    // Turn by turn, so that the positions of the two lie between each other.
    for n in 0..3 {
        insert(&mut client, 7 + n..=7 + n);
        insert(&mut clone, 100 + n..=100 + n);
    }
    for (cursor, key) in &cursors {
        let common = || key + 1..=6;
        let wanted: Vec<i64> = common().chain(100..=102).collect();
        assert_eq!(keys_behind(&mut clone, &first, cursor), wanted, "behind {key}");
        let wanted: Vec<i64> = common().chain(7..=9).collect();
        assert_eq!(keys_behind(&mut client, &first, cursor), wanted, "behind {key}");
    }
    assert_eq!(story(&mut clone, &first).len(), 5 + 3);
    assert_eq!(story(&mut clone, &last), ["add 100", "add 101", "add 102"]);
    assert_eq!(story(&mut client, &last), ["add 7", "add 8", "add 9"]);
    let own = mint(&mut clone, "event_source('t')");
    insert(&mut clone, 103..=103);
    assert_eq!(story(&mut clone, &own), ["add 103"]);

    // What either of them told later is nothing to the other.
    let late = mint(&mut client, "event_source('t')");
    let at_the_end = end(&mut client, &first);
    for (token, cursor) in [(&first, Some(at_the_end.as_str())), (&late, None)] {
        let switch = where_to_go_on(&mut clone, token, cursor);
        assert_eq!(keys_behind(&mut clone, token, &switch), [100, 101, 102, 103]);
    }
    let of_the_clone = end(&mut clone, &first);
    let switch = where_to_go_on(&mut client, &first, Some(&of_the_clone));
    assert!(keys_behind(&mut client, &first, &switch).ends_with(&[7, 8, 9]));
}

#[test]
fn a_table_that_is_captured_after_the_copy_is_never_taken_for_one_of_the_other_database() {
    let cluster = Cluster::options().fresh().start();
    let mut client = cluster.connect();
    client.batch_execute(TABLE).unwrap();
    client
        .batch_execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
        .unwrap();
    drop(client);
    let mut clone = clone_app(&cluster);
    let mut client = cluster.connect();
    // The next capture of both, and of another table each. They know the same keys.
    client.batch_execute("SELECT event_source.capture('a'); INSERT INTO a VALUES (1)").unwrap();
    clone.batch_execute("SELECT event_source.capture('b'); INSERT INTO b VALUES (2)").unwrap();
    let of_a = mint(&mut client, "event_source('a')");
    clone.batch_execute("INSERT INTO b VALUES (3)").unwrap();
    let said = refused(sql::event_page(&mut clone, &of_a, None, 10, &[]));
    assert_eq!(said.message, "the table of the event source is no longer captured");
}

#[test]
fn after_pg_upgrade_every_cursor_and_token_goes_on_exactly() {
    let mut old = Cluster::options().fresh().start();
    let mut client = old.connect();
    client.batch_execute(TABLE).unwrap();
    client.batch_execute("CREATE INDEX t_by_v ON t (v)").unwrap();
    let first = mint(&mut client, "event_source('t')");
    insert(&mut client, 2..=5);
    let in_between = end(&mut client, &first);
    let of_index = mint(&mut client, "event_source('t_by_v', terms => ARRAY[101])");
    insert(&mut client, 6..=7);
    let at_the_end = end(&mut client, &first);
    drop(client);
    let mut new = Cluster::options().fresh().without_extension().start();
    old.stop(Stop::Fast);
    new.stop(Stop::Fast);
    new.upgrade_from(&old);
    new.launch();

    let mut there = new.connect();
    insert(&mut there, 100..=101);
    assert_eq!(keys_behind(&mut there, &first, &in_between), [6, 7, 100, 101]);
    assert_eq!(keys_behind(&mut there, &first, &at_the_end), [100, 101]);
    assert_eq!(story(&mut there, &first).len(), 4 + 2 + 2);
    assert_eq!(story(&mut there, &of_index), ["add 101"]);
    let events = drain(&mut there, &first, None);
    let times: Vec<i64> = events.iter().filter_map(|event| event.txn_ts).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let problem = there.query_one("SELECT problem FROM event_source.collections", &[]).unwrap();
    assert_eq!(problem.get::<_, Option<String>>(0), None);
    let _ = new.serving();
}
