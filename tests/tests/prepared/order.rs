//! What depends on a prepared transaction comes behind it, and a token minted in the moment between
//! its commit and its stamp is neither told of it again nor misses it.

use event_source_tests::Cluster;
use event_source_tests::follow::{drain, story};

use super::race::{self, NoStamps, STAMPING, overtake, running, session, wait_for_lock};
use super::rebuild::{apply, rows_and_token, table};
use super::{assert_exact, captured, commit, prepare, with_table};

#[test]
fn who_waited_for_its_row_comes_behind_it() {
    let (cluster, mut client, token) = captured();
    overtake(&cluster);
    assert_eq!(story(&mut client, &token)[10..], ["update 1", "update 1"]);
    assert_exact(&mut client, &token);
}

#[test]
fn of_two_prepared_ones_the_one_that_depends_on_the_other_comes_behind_it() {
    let (cluster, mut client, token) = captured();
    let mut observer = session(&cluster, "observer");
    // The second has the lower transaction id.
    let mut second = cluster.connect();
    second.batch_execute("BEGIN; UPDATE t SET v = 1 WHERE id = 2").unwrap();
    prepare(&mut client, "first", "UPDATE t SET v = 1 WHERE id = 1");
    let no_stamps = NoStamps::hold(&cluster);
    let one = running(&cluster, "one", "COMMIT PREPARED 'first'");
    wait_for_lock(&mut observer, "one", STAMPING);
    second
        .batch_execute("UPDATE t SET v = v + 1 WHERE id = 1; PREPARE TRANSACTION 'second'")
        .unwrap();
    let two = running(&cluster, "two", "COMMIT PREPARED 'second'");
    wait_for_lock(&mut observer, "two", STAMPING);
    // Whoever gives out stamps first is gone: the next one finds both.
    observer
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'one'",
            &[],
        )
        .unwrap();
    assert!(one.join().unwrap().is_err(), "its session was ended");
    no_stamps.release();
    two.join().unwrap().unwrap();
    assert_eq!(assert_exact(&mut client, &token), 13);
}

#[test]
fn who_gave_it_a_stamp_and_rolled_back_is_followed_by_another() {
    let (cluster, mut client, token) = captured();
    let mut observer = session(&cluster, "observer");
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 1");
    let no_stamps = NoStamps::hold(&cluster);
    let resolver = running(&cluster, "resolver", "COMMIT PREPARED 'p'");
    wait_for_lock(&mut observer, "resolver", STAMPING);
    let writer = running(&cluster, "writer", "UPDATE t SET v = v + 1 WHERE id = 1");
    wait_for_lock(&mut observer, "writer", STAMPING);
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
    observer.execute(cancel, &[&"resolver"]).unwrap();
    // That commit stands: what was cancelled is only its place in the log.
    resolver.join().unwrap().unwrap();
    // Now the writer gives out stamps. It is a commit that has not happened yet, so it fails.
    wait_for_lock(&mut observer, "writer", "locktype = 'relation'");
    observer.execute(cancel, &[&"writer"]).unwrap();
    writer.join().unwrap().unwrap_err();
    no_stamps.release();
    assert_eq!(story(&mut client, &token).len(), 10, "told without a stamp");
    client.batch_execute("UPDATE t SET v = v + 1 WHERE id = 1").unwrap();
    assert_eq!(story(&mut client, &token)[10..], ["update 1", "update 1"]);
    assert_exact(&mut client, &token);
}

#[test]
fn rows_and_tail_have_no_gap_and_no_overlap_between_its_commit_and_its_stamp() {
    let (cluster, mut client, token) = captured();
    let mut observer = session(&cluster, "observer");
    let mut old = cluster.connect();
    prepare(&mut client, "p", "UPDATE t SET v = 1 WHERE id = 1");
    let before = rows_and_token(&mut client).unwrap();
    let no_stamps = NoStamps::hold(&cluster);
    let resolver = running(&cluster, "resolver", "COMMIT PREPARED 'p'");
    wait_for_lock(&mut observer, "resolver", STAMPING);
    // A statement that sees the transaction and not its stamp, and one whose snapshot stays that old.
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    let mut minter = session(&cluster, "minter");
    let minting = std::thread::spawn(move || rows_and_token(&mut minter));
    event_source_tests::wait_until("the token to wait for the stamp", race::LIMIT, || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE application_name = 'minter' AND wait_event = 'Extension'";
        observer.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
    });
    no_stamps.release();
    resolver.join().unwrap().unwrap();
    let inside = minting.join().unwrap().unwrap();
    client.batch_execute("UPDATE t SET v = v + 1 WHERE id IN (1, 2)").unwrap();
    let late = rows_and_token(&mut old).unwrap();
    old.batch_execute("COMMIT").unwrap();
    let after = rows_and_token(&mut client).unwrap();
    let now = table(&mut client);
    for (name, changes, (rows, token)) in
        [("before", 3, before), ("inside", 2, inside), ("late", 2, late), ("after", 0, after)]
    {
        let events = drain(&mut client, &token, None);
        assert_eq!(events.len(), changes, "{name}: {events:?}");
        assert_eq!(apply(rows, &events).as_ref(), Ok(&now), "{name}");
    }
    assert_exact(&mut client, &token);
}

/// Whoever looks for unstamped ones walks through all rows. One that is committed behind its back
/// must not be left out while another, which depends on it, is found further on.
#[test]
fn a_look_that_takes_long_finds_none_without_what_it_depends_on() {
    const GROUPS: i32 = 4;
    const EACH: i32 = 20;
    let cluster = Cluster::options()
        .conf("event_source.listen", "")
        .conf("max_prepared_transactions", 200)
        .conf("fsync", "off")
        .start();
    let (mut client, token) = with_table(&cluster);
    let rows =
        format!("INSERT INTO t SELECT n, 0 FROM generate_series(101, 100 + {GROUPS} * {EACH}) n");
    client.batch_execute(&rows).unwrap();
    let all = || (0..GROUPS * EACH).map(|n| 101 + n);
    for id in all() {
        prepare(&mut client, &format!("p{id}"), &format!("UPDATE t SET v = 1 WHERE id = {id}"));
    }
    // What makes a look long, between the rows of these and those of their dependents: the rows of a
    // transaction that never ends.
    let mut slow = cluster.connect();
    slow.batch_execute(
        "BEGIN; INSERT INTO event_source.prepared
         SELECT '3', 0, 0, '{}', 0, false FROM generate_series(1, 300000)",
    )
    .unwrap();
    std::thread::scope(|scope| {
        for group in 0..GROUPS {
            let mine = move || (0..EACH).map(move |n| 101 + group * EACH + n);
            let (mut resolver, mut writer) = (cluster.connect(), cluster.connect());
            scope.spawn(move || mine().for_each(|id| commit(&mut resolver, &format!("p{id}"))));
            scope.spawn(move || {
                let name = format!("w{group}");
                for id in mine() {
                    prepare(&mut writer, &name, &format!("UPDATE t SET v = 2 WHERE id = {id}"));
                    commit(&mut writer, &name);
                }
            });
        }
    });
    drop(slow);
    assert_eq!(assert_exact(&mut client, &token), 10 + 3 * all().count());
}
