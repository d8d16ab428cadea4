//! One run of the order test: a cluster, its writers, its followers, and what they found.

mod followers;
mod replica;
mod replica_tests;
mod table;
mod workload;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use event_source_tests::{Build, Cluster, Options};
use postgres::Client;

pub(crate) use replica::Disorder;
use replica::{Replica, same_sequence};
pub(crate) use table::Shape;
use table::{MARKER_KEY, OPEN_KEY};
use workload::{Goal, Session};

/// Concurrent writers, the open one not counted.
const SESSIONS: u64 = 8;

/// Each of these tests wants the whole machine.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub build: Build,
    pub shape: Shape,
    pub transactions: u64,
    pub seed: u64,
    /// A fault to switch on, in the build that has faults.
    pub control: Option<&'static str>,
}

/// What a sound run did.
#[derive(Debug)]
pub(crate) struct Report {
    pub committed: u64,
    pub events: usize,
}

impl Run {
    /// Runs it; the error is the first fault that a follower or the comparison found.
    pub(crate) fn check(self) -> Result<Report, Disorder> {
        let _alone = alone();
        let cluster = self.cluster();
        let token = self.shape.create(&mut cluster.connect());
        let _serving = cluster.serving();
        let mut open = OpenWriter::start(&cluster, self.shape);
        let goal = Goal::new(self.transactions);
        let stop = AtomicBool::new(false);

        let outcomes = thread::scope(|scope| {
            let (goal, stop, token) = (&goal, &stop, token.as_str());
            let address = cluster.http();
            let stopped = || stop.load(Ordering::Relaxed);
            let new = || Replica::new(self.shape);
            let watched = |outcome: followers::Outcome| {
                if outcome.is_err() {
                    stop.store(true, Ordering::Relaxed);
                    goal.give_up();
                }
                outcome
            };
            let page_client = cluster.connect();
            let followers = [
                (
                    "stream",
                    scope.spawn(move || watched(followers::stream(address, token, new(), stopped))),
                ),
                (
                    "feed",
                    scope.spawn(move || {
                        watched(followers::feed(
                            address,
                            page_client,
                            token,
                            self.seed,
                            new(),
                            stopped,
                        ))
                    }),
                ),
                (
                    "cut stream",
                    scope.spawn(move || {
                        watched(followers::cut_stream(address, token, self.seed, new(), stopped))
                    }),
                ),
            ];
            let sessions: Vec<_> = (0..SESSIONS)
                .map(|number| {
                    let client = cluster.connect();
                    let session = Session::new(self.shape, self.seed, number);
                    scope.spawn(move || session.run(client, goal))
                })
                .collect();
            for session in sessions {
                session.join().expect("a writer panicked");
            }
            open.commit();
            let mut last = cluster.connect();
            table::change_much(&mut last);
            insert(&mut last, "t", MARKER_KEY);
            followers.map(|(name, thread)| (name, thread.join().expect("a follower panicked")))
        });

        judge(&cluster, &goal, outcomes)
    }

    fn cluster(self) -> Cluster {
        let options = Options::default()
            .build(self.build)
            // Circles are part of the workload; waiting a second for each is not.
            .conf("deadlock_timeout", "20ms")
            .conf("event_source.status_interval", "1s")
            .conf("max_wal_size", "4GB");
        match self.control {
            // Long flushes: the fault is in what happens while one is on its way.
            Some(fault) => options.conf("event_source.control", fault).conf("commit_delay", 2000),
            None => options,
        }
        .start()
    }
}

/// The first fault, or that there is none.
fn judge(
    cluster: &Cluster,
    goal: &Goal,
    outcomes: [(&'static str, followers::Outcome); 3],
) -> Result<Report, Disorder> {
    let mut replicas = Vec::new();
    for (name, outcome) in outcomes {
        replicas.push((name, outcome?));
    }
    let table = table::rows(&mut cluster.connect());
    for (_, replica) in &replicas {
        replica.compare(&table)?;
    }
    let (first, rest) = replicas.split_first().expect("three followers");
    for other in rest {
        same_sequence((first.0, &first.1.sequence), (other.0, &other.1.sequence))?;
    }
    Ok(Report { committed: goal.committed(), events: first.1.sequence.len() })
}

/// A transaction that wrote before all others and commits behind them.
///
/// In the shapes that are truncated it holds a row of another captured table: with one of `t` no
/// TRUNCATE would ever get its lock.
struct OpenWriter(Client);

impl OpenWriter {
    fn start(cluster: &Cluster, shape: Shape) -> Self {
        let mut client = cluster.connect();
        let table = match shape {
            Shape::Plain => "t",
            Shape::Partitioned | Shape::Keyless => {
                client
                    .batch_execute(
                        "CREATE TABLE other (id int PRIMARY KEY, v int, note text, body text);
                         SELECT event_source.capture('other')",
                    )
                    .expect("another table can be captured");
                "other"
            }
        };
        client.batch_execute("BEGIN").expect("a transaction begins");
        insert(&mut client, table, OPEN_KEY);
        Self(client)
    }

    fn commit(&mut self) {
        self.0.batch_execute("COMMIT").expect("the open transaction commits");
    }
}

fn insert(client: &mut Client, table: &str, key: i32) {
    client
        .batch_execute(&format!("INSERT INTO {table} VALUES ({key}, 0, 'apart', NULL)"))
        .expect("a row can be inserted");
}
