//! The ways to crash.

use std::time::{Duration, Instant};

use event_source_tests::{Cluster, Pid, Signal, Stop};
use postgres::Client;

/// What is killed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// A session between taking its place in the order and being visible, by signal 9.
    BackendInCommit,
    /// A session wherever it is, by signal 9.
    Backend,
    Worker,
    /// The postmaster alone: its children notice, one after the other.
    Postmaster,
    /// All processes at one moment, as by a power failure.
    Everything,
    /// `pg_ctl stop -m immediate`.
    ImmediateShutdown,
}

pub(crate) const STRIKES: [Strike; 6] = [
    Strike::BackendInCommit,
    Strike::Backend,
    Strike::Worker,
    Strike::Postmaster,
    Strike::Everything,
    Strike::ImmediateShutdown,
];

impl Strike {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BackendInCommit => "kill -9 of a session in its commit",
            Self::Backend => "kill -9 of a session",
            Self::Worker => "kill -9 of the worker",
            Self::Postmaster => "kill -9 of the postmaster",
            Self::Everything => "kill -9 of everything",
            Self::ImmediateShutdown => "immediate shutdown",
        }
    }

    /// Strikes; the cluster takes connections again some time after it. Whether a session was sought
    /// and met in its commit.
    pub(crate) fn fall(self, cluster: &mut Cluster, control: &mut Client, victim: Pid) -> bool {
        match self {
            Self::BackendInCommit => {
                let committing = committing(control);
                committing.unwrap_or(victim).signal(Signal::KILL);
                return committing.is_some();
            }
            Self::Backend => victim.signal(Signal::KILL),
            // None between two lives of it: then it is a session's turn.
            Self::Worker => cluster.worker().unwrap_or(victim).signal(Signal::KILL),
            Self::Postmaster => {
                cluster.kill_postmaster();
                cluster.launch();
            }
            Self::Everything => {
                cluster.kill();
                cluster.launch();
            }
            Self::ImmediateShutdown => {
                let _took = cluster.stop(Stop::Immediate);
                cluster.launch();
            }
        }
        false
    }
}

/// A session that holds the closed timestamp: it is between PRE_COMMIT and the end of its commit.
fn committing(control: &mut Client) -> Option<Pid> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let row = control.query_one("SELECT holder_pid FROM event_source.raw_status()", &[]);
        if let Some(pid) = row.expect("the status can be read").get::<_, Option<i32>>(0) {
            return Some(Pid(pid));
        }
    }
    None
}
