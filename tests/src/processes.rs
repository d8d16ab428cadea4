//! The processes of a cluster, seen from outside: `/proc` and `pg_stat_activity`.
//!
//! It runs on the test's thread and only looks and sends signals. A zombie counts as gone: in
//! a container the first process may be slow to collect it, and it holds nothing any more.

use std::fs;

use postgres::Client;
pub use rustix::process::Signal;

/// A process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub i32);

impl Pid {
    /// Sends a signal; a process that is already gone is no error, as with every signal's race.
    ///
    /// # Panics
    /// When it may not be sent.
    pub fn signal(self, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(self.0).expect("a process id is above zero");
        match rustix::process::kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => panic!("cannot send {signal:?} to {}: {e}", self.0),
        }
    }

    /// Whether it runs (a zombie does not).
    #[must_use]
    pub fn lives(self) -> bool {
        Stat::of(self).is_some_and(|stat| stat.state != 'Z')
    }

    /// Whether SIGSTOP has taken effect.
    #[must_use]
    pub fn is_stopped(self) -> bool {
        Stat::of(self).is_none_or(|stat| matches!(stat.state, 'T' | 'Z'))
    }

    /// Bytes of memory that are its own: neither shared memory nor files. `None` when it is gone.
    #[must_use]
    pub fn own_memory(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    }

    /// Hundredths of a second that it has worked, for itself and in the kernel. `None` when it is gone.
    #[must_use]
    pub fn worked(self) -> Option<u64> {
        let line = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        let (_, tail) = line.rsplit_once(") ")?;
        let mut times = tail.split(' ').skip(11).map_while(|time| time.parse::<u64>().ok());
        Some(times.next()? + times.next()?)
    }

    /// The living processes that this one started.
    #[must_use]
    pub fn children(self) -> Vec<Self> {
        living().filter(|stat| stat.parent == self).map(|stat| stat.pid).collect()
    }

    /// The living processes started by this one or by one of them.
    #[must_use]
    pub fn descendants(self) -> Vec<Self> {
        let all: Vec<Stat> = living().collect();
        let mut found = vec![self];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            found.extend(all.iter().filter(|stat| stat.parent == parent).map(|stat| stat.pid));
            next += 1;
        }
        found.split_off(1)
    }

    /// The program's name as the kernel keeps it, at most 15 characters.
    #[must_use]
    pub fn name(self) -> Option<String> {
        Stat::of(self).map(|stat| stat.name)
    }
}

/// What `/proc/PID/stat` begins with.
struct Stat {
    pid: Pid,
    name: String,
    state: char,
    parent: Pid,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{}/stat", pid.0)).ok()?;
        // The name stands in parentheses and may itself hold spaces and parentheses.
        let (head, tail) = line.rsplit_once(") ")?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = Pid(fields.next()?.parse().ok()?);
        Some(Self { pid, name, state, parent })
    }
}

fn living() -> impl Iterator<Item = Stat> {
    fs::read_dir("/proc")
        .expect("/proc is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Stat::of(Pid(pid)))
        .filter(|stat| stat.state != 'Z')
}

/// The workers of the cluster that a client is connected to: process, database, address.
///
/// # Panics
/// When the query fails.
pub fn workers(client: &mut Client) -> Vec<(Pid, String, String)> {
    client
        .query(
            "SELECT pid, coalesce(datname::text, ''), application_name FROM pg_stat_activity
             WHERE backend_type = 'event_source worker' ORDER BY pid",
            &[],
        )
        .expect("pg_stat_activity can be read")
        .iter()
        .map(|row| (Pid(row.get(0)), row.get(1), row.get(2)))
        .collect()
}
