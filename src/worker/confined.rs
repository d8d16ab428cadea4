//! What holds a server, as `event_source.status` shows it.
//!
//! Read from the kernel wherever it tells, at the moment of the question and in the backend that asks: a server that has
//! been taken over can say nothing about that. Of landlock the kernel tells nobody; there the server's word from its start
//! counts, given before it had read anything of the network.

use std::fs;
use std::sync::atomic::Ordering::SeqCst;

use crate::order::shared::Worker;

const LANDLOCK: u32 = 1;
const SECCOMP: u32 = 2;

/// Keeps what the server says of itself.
pub(super) fn note(place: &Worker, landlock: bool, seccomp: bool) {
    let said = if landlock { LANDLOCK } else { 0 } | if seccomp { SECCOMP } else { 0 };
    place.confined.store(said, SeqCst);
}

/// What is in force; `None` when there is no server.
pub(super) fn in_force(place: &Worker) -> Option<Vec<String>> {
    let pid = place.server_pid.load(SeqCst);
    if pid == 0 {
        return None;
    }
    let said = place.confined.load(SeqCst);
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let (status, limits, score) = (read("status"), read("limits"), read("oom_score_adj"));
    let is = |name: &str, wanted: &str| value(&status, name) == Some(wanted);
    let known = [
        ("no_new_privs", is("NoNewPrivs:", "1")),
        ("rlimits", are_limited(&limits)),
        ("oom_score_adj", score.trim() == "1000"),
        ("landlock", said & LANDLOCK != 0),
        // A container's own filter looks the same to the kernel.
        ("seccomp", said & SECCOMP != 0 && is("Seccomp:", "2")),
    ];
    Some(known.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name.to_owned()).collect())
}

/// Of `/proc/PID/status`.
fn value<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Of `/proc/PID/limits`: no core, an end to the address space, all descriptors that may be had.
fn are_limited(limits: &str) -> bool {
    let limit = |name: &str| -> Option<(&str, &str)> {
        let mut values = limits.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace();
        Some((values.next()?, values.next()?))
    };
    limit("Max core file size") == Some(("0", "0"))
        && limit("Max address space").is_some_and(|(_, hard)| hard != "unlimited")
        && limit("Max open files").is_some_and(|(soft, hard)| soft == hard)
}
