//! CPU time of processes, those that have ended included.

use std::fs;
use std::time::Duration;

use event_source_tests::Pid;

/// What a process and all that it started have run for, so far.
///
/// What lives is known to the nanosecond. Of those that ended, the kernel tells their parent in
/// ticks of 10 ms. Both together only grow, whatever ends meanwhile.
#[must_use]
pub fn of_tree(root: Pid) -> Duration {
    let mut all = root.descendants();
    all.push(root);
    all.into_iter().map(|pid| of_threads(pid) + of_ended_children(pid)).sum()
}

/// Of all threads that a process has; nothing when it has ended.
fn of_threads(pid: Pid) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.0)) else { return Duration::ZERO };
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn of_ended_children(pid: Pid) -> Duration {
    let Ok(line) = fs::read_to_string(format!("/proc/{}/stat", pid.0)) else {
        return Duration::ZERO;
    };
    // Behind the name, which may hold anything: state is field 3, cutime 16 and cstime 17.
    let fields = line.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs(1).mul_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
