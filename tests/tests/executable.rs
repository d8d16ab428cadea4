//! The server's executable: another version, or none at all.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use event_source_door::{frame, message};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Signal, wait_until};

#[test]
fn a_server_of_another_version_is_refused() {
    let cluster = Cluster::options().own_installation().start();
    let (_, server) = cluster.serving();
    let executable = cluster.pkglibdir().join("event_source_server");
    let kept = executable.with_extension("kept");
    std::fs::rename(&executable, &kept).unwrap();
    std::fs::write(&executable, other_version()).unwrap();
    std::fs::set_permissions(&executable, Permissions::from_mode(0o755)).unwrap();
    server.signal(Signal::KILL);
    wait_until("the log to name the other version", LONG, || {
        cluster.log().lines().any(|line| line.contains("version") && line.contains("9.9.9"))
    });
    assert!(!cluster.healthy());
    assert_eq!(state(&cluster), "its server cannot be started");
    std::fs::rename(&kept, &executable).unwrap();
    wait_until("the right one to serve again", LONG, || cluster.healthy());
}

fn state(cluster: &Cluster) -> String {
    let query = "SELECT state FROM event_source.status";
    cluster.connect().query_one(query, &[]).unwrap().get(0)
}

/// A script that says `Hello` as a server of version 9.9.9 would, then waits for its end.
fn other_version() -> String {
    let hello =
        message::ToWorker::Hello { protocol: message::PROTOCOL, version: "9.9.9".to_owned() };
    let mut bytes = Vec::new();
    frame::push(&mut bytes, &hello).unwrap();
    let octal: String = bytes.iter().map(|b| format!("\\{b:03o}")).collect();
    // Standard input is one end of the pair, so it is also where to speak.
    format!("#!/bin/sh\nprintf '{octal}' >&0\ncat >/dev/null\n")
}

#[test]
fn a_missing_executable_is_said_in_the_log_and_disturbs_nobody() {
    let cluster = Cluster::options().own_installation().start();
    let (_, server) = cluster.serving();
    let executable = cluster.pkglibdir().join("event_source_server");
    let kept = executable.with_extension("kept");
    std::fs::rename(&executable, &kept).unwrap();
    server.signal(Signal::KILL);
    wait_until("the log to name the executable", LONG, || {
        cluster
            .log()
            .lines()
            .any(|line| line.contains("event_source_server") && line.contains("No such file"))
    });
    assert_eq!(state(&cluster), "its server cannot be started");
    std::fs::rename(&kept, &executable).unwrap();
    wait_until("it to be served again", LONG, || cluster.healthy());
    wait_until("the status to say so", LONG, || state(&cluster) == "serving");
}
