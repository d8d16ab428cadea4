//! One run of the nemesis: a cluster, its sessions and followers, the disturber, quiet points.

use std::sync::RwLock;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use event_source_tests::follow::explain;
use event_source_tests::rebuild::quiet::{Tables, behind_everything};
use event_source_tests::rebuild::source::Access;
use event_source_tests::rebuild::{Follower, Quiet};
use event_source_tests::wait::LONG;
use event_source_tests::{Build, Cluster, Options, wait_until};
use postgres::Client;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::collections::COLLECTIONS;
use super::coverage::{Coverage, Line};
use super::disturber;
use super::menu::{Kind, MENU};
use super::postmortem;
use super::session::{Session, Shared};

/// Concurrent sessions; the first also does what only one may do.
const SESSIONS: usize = 6;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub seed: u64,
    pub time: Duration,
    /// Between two quiet points.
    pub epoch: Duration,
    /// A fault to switch on, in the build that has faults.
    pub control: Option<&'static str>,
}

impl Run {
    /// Runs it; what was done is told also when something was found.
    pub(crate) fn check(self) -> (Coverage, Result<u64, String>) {
        let options = match self.control {
            // Long flushes: the fault is in what happens while one is on its way.
            Some(fault) => Options::default()
                .build(Build::Controls)
                .conf("event_source.control", fault)
                .conf("commit_delay", 2000),
            None => Options::default(),
        };
        let cluster = options
            // Circles are part of the menu; waiting a second for each is not.
            .conf("deadlock_timeout", "20ms")
            .conf("event_source.status_interval", "1s")
            .conf("max_prepared_transactions", "50")
            // The ring turns many times in a long run; followers are never that far behind.
            .conf("event_source.retention", "120s")
            .conf("max_wal_size", "4GB")
            .start();
        let mut client = cluster.connect();
        client
            .batch_execute(include_str!("schema.sql"))
            .unwrap_or_else(|e| panic!("the schema: {}", explain(&e)));
        let tokens: Vec<String> = COLLECTIONS.iter().map(|c| c.begin(&mut client)).collect();
        let _serving = cluster.serving();
        let on: Vec<bool> = MENU.iter().map(|kind| is_on(&cluster, kind)).collect();
        let quiet = Quiet::default();
        let coverage = Coverage {
            kinds: MENU.iter().zip(&on).map(|(kind, on)| Line::new(kind.name, !on)).collect(),
            faults: disturber::lines(),
        };
        let shared = Shared {
            config: cluster.config(),
            quiet: &quiet,
            coverage: &coverage,
            gate: RwLock::new(()),
            backends: (0..SESSIONS).map(|_| AtomicI32::new(0)).collect(),
            transactions: AtomicU64::new(0),
            on,
        };
        let events = thread::scope(|scope| {
            let _end = quiet.ends_with_me();
            let (cluster, shared, quiet) = (&cluster, &shared, &quiet);
            let mut followers = Vec::new();
            for (collection, token) in COLLECTIONS.iter().zip(&tokens) {
                for (at, (transport, joins)) in (0..).zip(collection.followers()) {
                    let follower = Follower {
                        access: Access { http: cluster.http(), sql: cluster.config() },
                        transport,
                        token: token.clone(),
                        seed: self.seed.wrapping_add(at),
                        breaks: true,
                    };
                    followers.push(scope.spawn(move || collection.follow(follower, joins, quiet)));
                }
            }
            let mut sessions: Vec<_> = (0..SESSIONS)
                .map(|number| scope.spawn(move || Session::new(self.seed, number).run(shared)))
                .collect();
            sessions.push(scope.spawn(move || disturber::run(cluster, shared, self.seed)));

            self.conduct(&mut client, shared, followers.len());
            quiet.stop();
            for session in sessions {
                session.join().expect("a session panicked");
            }
            followers.into_iter().map(|f| f.join().expect("a follower panicked")).sum()
        });
        let faults = quiet.faults();
        let found = if faults.is_empty() {
            postmortem::one_writer_a_position(&mut client).map(|()| events)
        } else {
            Err(postmortem::tell(&mut client, &faults))
        };
        (coverage, found)
    }

    /// Lets them write, and stops them for quiet points, until the time is up and everything on the
    /// menu was done.
    fn conduct(self, client: &mut Client, shared: &Shared<'_>, followers: usize) {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let start = Instant::now();
        loop {
            let epoch = Instant::now();
            wait_until("the end of an epoch", self.epoch * 2 + LONG, || {
                shared.quiet.stopped() || epoch.elapsed() >= self.epoch
            });
            if shared.quiet.stopped() {
                return;
            }
            // A session that panicked has its own message.
            let Ok(_alone) = shared.gate.write() else { return };
            disturber::end_prepared(client, &mut random);
            let target = behind_everything(client);
            let tables: Tables =
                COLLECTIONS.iter().map(|c| (c.name.to_owned(), c.rows(client))).collect();
            shared.quiet.compare(target, tables, followers);
            let beyond = start.elapsed().saturating_sub(self.time);
            let over = start.elapsed() >= self.time;
            if over && (shared.coverage.missing().is_empty() || beyond >= PATIENCE) {
                return;
            }
        }
    }
}

/// How much longer it goes on for what was not yet done, on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whether a kind is wanted, and supported.
fn is_on(cluster: &Cluster, kind: &Kind) -> bool {
    if let Ok(wanted) = std::env::var("NEMESIS_KINDS")
        && !wanted.split(';').any(|name| name == kind.name)
    {
        return false;
    }
    let Some(probe) = kind.probe else { return true };
    let mut client = cluster.connect();
    let on = client.batch_execute(probe.attempt).is_ok();
    let undo = if on { probe.undo } else { "ROLLBACK" };
    client.batch_execute(undo).expect("a probe leaves nothing behind");
    on
}
