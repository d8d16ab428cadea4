//! Rounds of load and crash on one cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use event_source_tests::consume::{Form, Version};
use event_source_tests::follow::mint;
use event_source_tests::rebuild::quiet::{Tables, behind_everything, rows};
use event_source_tests::rebuild::source::Access;
use event_source_tests::rebuild::{Follower, Identity, Quiet, Replica, Transport};
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, Options, Pid, wait_for, wait_until};
use postgres::{Client, NoTls};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::strike::STRIKES;
use super::writer::{Known, Round, write};

const SESSIONS: usize = 6;

const FOLLOWERS: [(&str, Identity, Transport); 6] = [
    ("t", Identity::ID, Transport::Native(Form::Sse, Version::Http2)),
    ("t", Identity::ID, Transport::Cut),
    ("t", Identity::ID, Transport::Document),
    ("t", Identity::ID, Transport::Pages),
    ("ledger", LEDGER, Transport::Native(Form::Lines, Version::Http1)),
    ("ledger", LEDGER, Transport::Pages),
];
const LEDGER: Identity = Identity { key: &["session"], ..Identity::ID };

/// What a sound run did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub committed: u64,
    events: u64,
    /// How often each strike fell.
    strikes: BTreeMap<&'static str, u64>,
    /// Sessions that were met in their commit.
    in_commit: u64,
    /// Transactions that were prepared when the server died, and ended after it.
    prepared: u64,
    /// Acknowledged commits with `synchronous_commit` off that crashes took back.
    taken_back: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.strikes {
            writeln!(f, "{name:<40}{count:>6}")?;
        }
        let Self { committed, events, in_commit, prepared, taken_back, .. } = self;
        write!(
            f,
            "{committed} transactions acknowledged, {events} events seen, {in_commit} sessions met in \
             their commit, {prepared} met prepared, {taken_back} acknowledged asynchronous commits taken back"
        )
    }
}

/// Runs it.
///
/// # Panics
/// At the first fault, with its seed and round.
pub(crate) fn run(seed: u64, rounds: u64) -> Report {
    let mut cluster = Options::default()
        .conf("deadlock_timeout", "20ms")
        .conf("event_source.status_interval", "1s")
        // What is not flushed by somebody who needs it stays in memory, for a crash to take.
        .conf("wal_writer_delay", "10s")
        .conf("wal_writer_flush_after", "1GB")
        // Commits last long enough to be met.
        .conf("commit_delay", "1000")
        .conf("commit_siblings", "1")
        .conf("max_wal_size", "64MB")
        .conf("max_prepared_transactions", "20")
        .start();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, session int NOT NULL, n bigint NOT NULL);
             CREATE TABLE ledger (session int PRIMARY KEY, n bigint NOT NULL);
             SELECT event_source.capture('t'), event_source.capture('ledger');",
        )
        .expect("tables can be captured");
    let tokens = ["t", "ledger"]
        .map(|table| (table, mint(&mut client, &format!("event_source('{table}')"))));
    client
        .batch_execute(&format!(
            "INSERT INTO ledger SELECT n, 0 FROM generate_series(0, {SESSIONS} - 1) n"
        ))
        .expect("every session has a row");
    let two_phase = takes_two_phase(&mut client);
    drop(client);
    let _serving = cluster.serving();

    let mut report = Report::default();
    let quiet = Quiet::default();
    let (access, quiet) = (Access { http: cluster.http(), sql: cluster.config() }, &quiet);
    thread::scope(|scope| {
        let _end = quiet.ends_with_me();
        let followers: Vec<_> = (0..)
            .zip(FOLLOWERS)
            .map(|(number, (table, identity, transport))| {
                let token = tokens.iter().find(|(t, _)| *t == table).expect("minted").1.clone();
                let seed = seed.wrapping_add(number);
                let follower =
                    Follower { access: access.clone(), transport, token, seed, breaks: true };
                scope.spawn(move || {
                    let mut watcher = quiet.watcher(table, transport.name());
                    let replica = Replica::new(transport.shows(identity));
                    follower
                        .run(replica, &mut watcher)
                        .map(|replica| replica.events)
                        .unwrap_or_else(|disorder| {
                            quiet.fail(table, transport.name(), disorder);
                            0
                        })
                })
            })
            .collect();
        let mut random = SmallRng::seed_from_u64(seed);
        let mut deck = Vec::new();
        for number in 0..rounds {
            if deck.is_empty() {
                deck = STRIKES.to_vec();
                deck.shuffle(&mut random);
            }
            let strike = deck.pop().expect("filled above");
            *report.strikes.entry(strike.name()).or_default() += 1;
            let pids = (0..SESSIONS).map(|_| AtomicI32::new(0)).collect();
            let round = Round { pids, two_phase, ..Round::default() };
            let known = load_and_crash(&mut cluster, &mut random, &round, |c, control, pid| {
                report.in_commit += u64::from(strike.fall(c, control, pid));
            });
            report.committed += round.committed.into_inner();
            let mut client = recovered(&cluster);
            report.prepared += end_prepared(&mut client, &mut random);
            report.taken_back += hold_to_account(&mut client, &known)
                .unwrap_or_else(|why| panic!("seed {seed}, round {number}, {strike:?}: {why}"));
            let tables = ["t", "ledger"].map(|t| (t.to_owned(), rows(&mut client, t)));
            quiet.compare(behind_everything(&mut client), Tables::from(tables), FOLLOWERS.len());
            let faults = quiet.faults();
            assert!(faults.is_empty(), "seed {seed}, round {number}, {strike:?}: {faults:#?}");
        }
        quiet.stop();
        report.events = followers.into_iter().map(|f| f.join().expect("a follower panicked")).sum();
    });
    report
}

/// Lets sessions write until the strike falls; what they knew when their server was gone.
fn load_and_crash(
    cluster: &mut Cluster,
    random: &mut SmallRng,
    round: &Round,
    strike: impl FnOnce(&mut Cluster, &mut Client, Pid),
) -> Vec<Known> {
    let mut control = cluster.connect();
    let ledger: Vec<i64> = control
        .query("SELECT n FROM ledger ORDER BY session", &[])
        .expect("the ledger can be read")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (seed, moment) = (random.random(), random.random_range(20..600));
    let victim = random.random_range(0..SESSIONS);
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..)
            .zip(&ledger)
            .map(|(session, last)| {
                let mut client = cluster.connect();
                let pid = client.query_one("SELECT pg_backend_pid()", &[]).expect("it has one");
                round.pids[session].store(pid.get(0), Ordering::Relaxed);
                scope.spawn(move || write(client, session, last + 1, seed, round))
            })
            .collect();
        wait_until("the moment of the crash", LONG, || {
            round.committed.load(Ordering::Relaxed) >= moment
        });
        let victim = Pid(round.pids[victim].load(Ordering::Relaxed));
        strike(cluster, &mut control, victim);
        sessions.into_iter().map(|s| s.join().expect("a session panicked")).collect()
    })
}

/// Whether a transaction that captured something can be prepared.
fn takes_two_phase(client: &mut Client) -> bool {
    let attempt = "BEGIN; DELETE FROM ledger WHERE session = 0; PREPARE TRANSACTION 'probe'";
    let taken = client.batch_execute(attempt).is_ok();
    let undo = if taken { "ROLLBACK PREPARED 'probe'" } else { "ROLLBACK" };
    client.batch_execute(undo).expect("a probe leaves nothing behind");
    taken
}

/// Ends what was prepared when the server died, one way or the other; how many there were.
fn end_prepared(client: &mut Client, random: &mut SmallRng) -> u64 {
    let left = client.query("SELECT gid FROM pg_prepared_xacts ORDER BY gid", &[]);
    let left = left.expect("pg_prepared_xacts can be read");
    for row in &left {
        let end = if random.random() { "COMMIT" } else { "ROLLBACK" };
        client
            .batch_execute(&format!("{end} PREPARED '{}'", row.get::<_, &str>(0)))
            .expect("nobody else ends it");
    }
    left.len() as u64
}

/// A connection to the recovered server; it recovers by itself unless it was stopped.
fn recovered(cluster: &Cluster) -> Client {
    wait_for("the server to recover", LONG, || cluster.config().connect(NoTls).ok())
}

/// Nothing that was acknowledged as durable is missing, and nothing is there that nobody tried. How
/// many commits were taken back that did not ask to be durable.
fn hold_to_account(client: &mut Client, known: &[Known]) -> Result<u64, String> {
    let rows = client
        .query("SELECT session, n FROM ledger ORDER BY session", &[])
        .map_err(|e| format!("the ledger cannot be read: {e}"))?;
    let mut taken_back = 0;
    for (row, known) in rows.iter().zip(known) {
        let (session, there): (i32, i64) = (row.get(0), row.get(1));
        if there < known.durable || there > known.tried {
            return Err(format!("session {session} is at {there}, and knows {known:?}"));
        }
        taken_back += u64::try_from(known.acknowledged - there).unwrap_or(0);
    }
    Ok(taken_back)
}
