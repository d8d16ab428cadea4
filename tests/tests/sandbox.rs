//! What the server starts without and what it gives up, seen from outside: in `/proc`, in `event_source.status`, on older
//! kernels, and when it hangs.
//!
//! An older kernel is played by a filter of this test's thread that every process of the cluster inherits: to them a call
//! that answers as if it was not there is not there.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::fs;
use std::time::Duration;

use event_source_tests::follow::mint;
use event_source_tests::resume::{beside_a_writer, resumes_exactly};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Pid, Signal, wait_until};
use postgres::Client;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::Eq;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

const ALL: [&str; 5] = ["no_new_privs", "rlimits", "oom_score_adj", "landlock", "seccomp"];

fn read(pid: Pid, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", pid.0)).unwrap()
}

/// Of `/proc/PID/status`.
fn value(pid: Pid, file: &str, name: &str) -> String {
    let text = read(pid, file);
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

/// Soft and hard, of `/proc/PID/limits`.
fn limits(pid: Pid, name: &str) -> (String, String) {
    let text = read(pid, "limits");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let mut values = line.split_whitespace().map(str::to_owned);
    (values.next().unwrap(), values.next().unwrap())
}

/// What the descriptors of a process are of.
fn descriptors(pid: Pid) -> Vec<String> {
    let folder = fs::read_dir(format!("/proc/{}/fd", pid.0)).unwrap();
    let targets = folder.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}

fn status(client: &mut Client) -> (String, Option<Vec<String>>) {
    let row = client.query_one("SELECT state, sandbox FROM event_source.status", &[]).unwrap();
    (row.get(0), row.get(1))
}

fn says(client: &mut Client, wanted: &[&str]) {
    wait_until("the status to say what holds", LONG, || {
        let (state, sandbox) = status(client);
        state == "serving" && sandbox.is_some_and(|sandbox| sandbox == wanted)
    });
}

/// Nothing of PostgreSQL's is open in the server.
fn has_nothing_else(cluster: &Cluster, server: Pid) {
    let log = cluster.data().parent().unwrap().join("log").display().to_string();
    for target in descriptors(server) {
        let is_own = target.starts_with("socket:")
            || ["anon_inode:[eventpoll]", "anon_inode:[eventfd]", "/dev/null"]
                .contains(&target.as_str())
            || target == log;
        assert!(is_own, "{target}");
    }
}

/// The second one: its worker has data files open, which the first one's did not have.
fn restarted(cluster: &Cluster) -> Pid {
    let (_, first) = cluster.serving();
    first.signal(Signal::KILL);
    wait_until("the first one to end", LONG, || !first.lives());
    cluster.serving().1
}

#[test]
fn a_server_is_held_on_all_sides_and_the_status_says_so() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let server = restarted(&cluster);
    says(&mut client, &ALL);
    let threads = fs::read_dir(format!("/proc/{}/task", server.0)).unwrap();
    let threads: Vec<_> = threads.map(|t| t.unwrap().file_name().into_string().unwrap()).collect();
    assert!(threads.len() > 1, "{threads:?}");
    for thread in threads {
        let file = format!("task/{thread}/status");
        assert_eq!(value(server, &file, "NoNewPrivs"), "1");
        assert_eq!(value(server, &file, "Seccomp"), "2");
    }
    assert_eq!(value(server, "status", "Umask"), "0077");
    assert_eq!(value(server, "status", "CapPrm"), "0000000000000000");
    assert_eq!(value(server, "status", "SigBlk"), "0000000000000000");
    assert_eq!(limits(server, "Max core file size"), ("0".to_owned(), "0".to_owned()));
    let (soft, hard) = limits(server, "Max open files");
    assert_eq!(soft, hard);
    let (soft, hard) = limits(server, "Max address space");
    let bytes: u64 = hard.parse().unwrap();
    assert_eq!(soft, hard);
    assert!((2 << 30..64 << 30).contains(&bytes), "{bytes}");
    assert_eq!(read(server, "oom_score_adj").trim(), "1000");
    assert_eq!(read(server, "environ"), "LISTEN_FDS=1\0");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", server.0)).unwrap().as_os_str(), "/");
    // Its session is its own, and has no terminal.
    let stat = read(server, "stat");
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let own = server.0.to_string();
    assert_eq!((fields[2], fields[3], fields[4]), (own.as_str(), own.as_str(), "0"));
    has_nothing_else(&cluster, server);
}

/// A filter that has a system call answer with an error; with `argument`, when it has that value.
fn answers(call: i64, error: i32, argument: Option<(u8, u64)>) -> BpfProgram {
    let rules = argument.map(|(at, value)| {
        SeccompRule::new(vec![SeccompCondition::new(at, Dword, Eq, value).unwrap()]).unwrap()
    });
    let rules = [(call, rules.into_iter().collect())].into();
    let error = SeccompAction::Errno(error.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, error, arch).unwrap().try_into().unwrap()
}

#[test]
fn a_kernel_without_landlock_is_a_warning() {
    apply_filter(&answers(libc::SYS_landlock_create_ruleset, libc::ENOSYS, None)).unwrap();
    let cluster = Cluster::start();
    let _serving = cluster.serving();
    says(&mut cluster.connect(), &["no_new_privs", "rlimits", "oom_score_adj", "seccomp"]);
    assert!(cluster.log().contains("warning: this kernel has no landlock"), "{}", cluster.log());
}

#[test]
fn a_kernel_without_seccomp_is_a_warning() {
    apply_filter(&answers(libc::SYS_seccomp, libc::ENOSYS, None)).unwrap();
    let cluster = Cluster::start();
    let _serving = cluster.serving();
    says(&mut cluster.connect(), &["no_new_privs", "rlimits", "oom_score_adj", "landlock"]);
    assert!(cluster.log().contains("warning: seccomp cannot be used"), "{}", cluster.log());
}

#[test]
fn a_kernel_that_cannot_close_a_range_on_exec_gives_the_server_nothing_else_either() {
    // Linux 5.10.
    let on_exec = Some((2, libc::CLOSE_RANGE_CLOEXEC.into()));
    apply_filter(&answers(libc::SYS_close_range, libc::EINVAL, on_exec)).unwrap();
    let cluster = Cluster::start();
    // The older kernel is in force.
    assert_eq!(value(cluster.worker().unwrap(), "status", "Seccomp"), "2");
    has_nothing_else(&cluster, restarted(&cluster));
    says(&mut cluster.connect(), &ALL);
}

#[test]
fn a_kernel_that_cannot_close_a_range_at_all_gives_the_server_nothing_else_either() {
    // Linux 5.8, and containers that forbid what they do not know.
    apply_filter(&answers(libc::SYS_close_range, libc::ENOSYS, None)).unwrap();
    let cluster = Cluster::start();
    // The older kernel is in force.
    assert_eq!(value(cluster.worker().unwrap(), "status", "Seccomp"), "2");
    has_nothing_else(&cluster, restarted(&cluster));
    says(&mut cluster.connect(), &ALL);
}

#[test]
fn a_server_that_hangs_is_not_said_to_serve_and_another_one_takes_its_place() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);
             SELECT event_source.capture('t')",
        )
        .unwrap();
    let token = mint(&mut client, "event_source('t')");
    let (worker, server) = cluster.serving();
    resumes_exactly(&cluster, &token, |cluster| {
        // Quiet first, when nothing but the question is under way, and then beside a writer, whose changes fill the pair.
        server.signal(Signal::STOP);
        let late = wait_until("the status to say that it hangs", LONG, || {
            status(&mut client).0 == "its server does not answer"
        });
        // Seen: 4.0 s.
        assert!(late < Duration::from_secs(9), "{late:?}");
        wait_until("it to be ended", LONG, || !server.lives());
        let (_, next) = cluster.serving();
        says(&mut client, &ALL);
        beside_a_writer(cluster, || {
            next.signal(Signal::STOP);
            wait_until("another one in its place", LONG, || !next.lives());
            let _serving = cluster.serving();
        });
        assert_eq!(cluster.worker(), Some(worker));
    });
    let killed = cluster.log().matches("did not answer for 10 s and was killed").count();
    assert_eq!(killed, 2);
}
