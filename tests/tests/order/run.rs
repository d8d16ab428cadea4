//! One run of the order test: a cluster, its writers, its followers, and what they found.

use std::thread;

use event_source_tests::consume::{Form, Version};
pub(crate) use event_source_tests::rebuild::Disorder;
use event_source_tests::rebuild::quiet::{Tables, behind_everything, rows};
use event_source_tests::rebuild::source::Access;
use event_source_tests::rebuild::{Follower, Quiet, Replica, Transport};
use event_source_tests::{Build, Cluster, Options};
use postgres::Client;

pub(crate) use super::table::Shape;
use super::table::{OPEN_KEY, change_much};
use super::workload::{Goal, Session};

/// Concurrent writers, the open one not counted.
const SESSIONS: u64 = 8;
/// Each rebuilds the table on its own.
const FOLLOWERS: [Transport; 3] =
    [Transport::Native(Form::Lines, Version::Http2), Transport::Pages, Transport::Cut];

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
    pub events: u64,
}

impl Run {
    /// Runs it; the error is the first fault that a follower or the comparison found.
    pub(crate) fn check(self) -> Result<Report, Disorder> {
        let cluster = self.cluster();
        let token = self.shape.create(&mut cluster.connect());
        let _serving = cluster.serving();
        let mut open = OpenWriter::start(&cluster, self.shape);
        let goal = Goal::new(self.transactions);
        let quiet = Quiet::default();

        let events = thread::scope(|scope| {
            let (goal, quiet) = (&goal, &quiet);
            let _end = quiet.ends_with_me();
            let followers = FOLLOWERS.map(|transport| {
                let follower = Follower {
                    access: Access { http: cluster.http(), sql: cluster.config() },
                    transport,
                    token: token.clone(),
                    seed: self.seed,
                    breaks: false,
                };
                scope.spawn(move || {
                    let mut watcher = quiet.watcher("t", transport.name());
                    follower
                        .run(Replica::new(self.shape.identity()), &mut watcher)
                        .map(|replica| replica.events)
                        .unwrap_or_else(|disorder| {
                            quiet.fail("t", transport.name(), disorder);
                            goal.give_up();
                            0
                        })
                })
            });
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
            change_much(&mut last);
            let tables = Tables::from([("t".to_owned(), rows(&mut last, "t"))]);
            quiet.compare(behind_everything(&mut last), tables, followers.len());
            quiet.stop();
            followers.map(|thread| thread.join().expect("a follower panicked"))
        });
        match quiet.faults().into_iter().next() {
            Some(fault) => Err(fault.disorder),
            None => Ok(Report { committed: goal.committed(), events: events[0] }),
        }
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
