//! The harness itself: what the other tests take for granted.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Pid, Stop, private, wait_until};

/// A server that knows nothing of the extension.
fn bare() -> Cluster {
    Cluster::options().conf("shared_preload_libraries", "").without_extension().start()
}

#[test]
fn a_dropped_cluster_leaves_no_process_and_no_file() {
    let cluster = bare();
    let (postmaster, folder) = (cluster.postmaster(), cluster.data());
    let mut processes = postmaster.descendants();
    processes.push(postmaster);
    assert!(processes.len() > 3, "postmaster and its helpers run: {processes:?}");
    drop(cluster);
    assert!(!processes.into_iter().any(Pid::lives));
    assert!(!folder.exists());
}

/// One after the other, so that the second may be what is left of the first.
#[test]
fn a_cluster_that_is_copied_has_nothing_of_those_before_it() {
    let is_empty = "SELECT (SELECT count(*) FROM event_source.changes) = 0
        AND (SELECT count(*) FROM event_source.capture) = 0 AND to_regclass('t') IS NULL
        AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'left_behind')
        AND current_setting('work_mem') = '4MB'";
    for number in 0..4 {
        let cluster = Cluster::start();
        let mut client = cluster.connect();
        let row = client.query_one(is_empty, &[]).unwrap();
        assert!(row.get::<_, bool>(0), "cluster {number}");
        client
            .batch_execute(
                "CREATE ROLE left_behind; CREATE TABLE t (id int PRIMARY KEY);
                 SELECT event_source.capture('t');
                 INSERT INTO t SELECT generate_series(1, 1000)",
            )
            .unwrap();
        client.batch_execute("ALTER SYSTEM SET work_mem = '5MB'").unwrap();
    }
}

#[test]
fn a_fresh_cluster_has_an_identifier_and_keys_of_its_own() {
    let identifiers = |cluster: &Cluster| -> (i64, Vec<u8>) {
        let row = cluster
            .connect()
            .query_one(
                "SELECT (SELECT system_identifier FROM pg_control_system()),
                     (SELECT key FROM event_source.signing_key)",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    let [copy, fresh, another] =
        [Cluster::start(), Cluster::options().fresh().start(), Cluster::options().fresh().start()]
            .map(|cluster| identifiers(&cluster));
    for (one, other) in [(&copy, &fresh), (&copy, &another), (&fresh, &another)] {
        assert_ne!(one.0, other.0);
        assert_ne!(one.1, other.1);
    }
}

#[test]
fn a_committed_row_survives_every_way_to_stop() {
    let mut cluster = bare();
    cluster
        .connect_to("postgres")
        .batch_execute("CREATE TABLE seen (n int); INSERT INTO seen VALUES (1)")
        .unwrap();
    cluster.restart(Stop::Fast);
    cluster.connect_to("postgres").batch_execute("INSERT INTO seen VALUES (2)").unwrap();
    cluster.restart(Stop::Immediate);
    cluster.connect_to("postgres").batch_execute("INSERT INTO seen VALUES (3)").unwrap();
    cluster.kill();
    cluster.launch();
    let row = cluster.connect_to("postgres").query_one("SELECT sum(n) FROM seen", &[]).unwrap();
    assert_eq!(row.get::<_, i64>(0), 6);
}

#[test]
fn a_reloaded_setting_counts() {
    let cluster = bare();
    let mut client = cluster.connect_to("postgres");
    cluster.set("work_mem", "7MB");
    cluster.reload();
    wait_until("the setting to arrive", LONG, || {
        client.query_one("SHOW work_mem", &[]).unwrap().get::<_, String>(0) == "7MB"
    });
}

#[test]
fn the_private_server_is_not_the_systems() {
    let cluster = bare();
    let library = cluster.pkglibdir();
    assert!(library.starts_with(private::root()), "{} is private", library.display());
    let mut client = cluster.connect_to("postgres");
    let reported = client
        .query_one("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'", &[])
        .unwrap()
        .get::<_, String>(0);
    assert_eq!(library.to_str(), Some(reported.as_str()));
}
