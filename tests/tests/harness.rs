//! The harness itself: what the other tests take for granted.

use event_source_tests::{Cluster, Pid, Stop, private, wait_until};
use std::time::Duration;

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
    wait_until("the setting to arrive", Duration::from_secs(10), || {
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
