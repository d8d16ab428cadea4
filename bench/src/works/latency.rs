//! From the return of COMMIT to the client, one commit after the other at a pace, beside what else tells a
//! client of a commit.
//!
//! Writer and client have one clock: the machine's monotonic one. An event may be heard before the
//! writer knows that it has committed; then the time is below nothing.

mod hear;

use std::ops::Range;
use std::time::{Duration, Instant};

use event_source_tests::Cluster;
use event_source_tests::consume::latency::pause_until;
use rustix::time::{ClockId, clock_gettime};

use crate::clusters::{self, has_peer};
use crate::machine;
use crate::turns::turns_of;
use crate::work::{Better, Outcome, Run};

/// Who hears of what is inserted into a table of its own.
struct Subject {
    name: &'static str,
    table: &'static str,
    hear: fn(&Cluster, &'static str, Range<i32>) -> Hearing,
}

impl Subject {
    /// Whether this machine has it (`bench/peers.sh`).
    fn is_here(&self) -> bool {
        self.name != WAL2JSON || has_peer(WAL2JSON)
    }
}

/// Waits until the last number is heard; gives every number, in the order in which they came, and when.
type Hearing = Box<dyn FnOnce() -> Vec<Moment>>;

/// A number and when it was sent or heard, in nanoseconds of the monotonic clock.
type Moment = (i32, i64);

const OURS: &str = "event_source";
const WAL2JSON: &str = "wal2json";

const SUBJECTS: [Subject; 4] = [
    Subject { name: OURS, table: "followed", hear: hear::stream },
    Subject { name: "NOTIFY", table: "notified", hear: hear::notify },
    Subject { name: WAL2JSON, table: "decoded", hear: hear::wal2json },
    Subject { name: "npm postgres subscribe()", table: "subscribed", hear: hear::subscribe },
];

/// Commits a second.
const RATES: [u32; 2] = [100, 1000];

/// Why a goal is missed.
const ASLEEP: &str = "the way is the same at each rate; between commits that are further apart worker, server \
     and client sleep, and their processors with them, and all are woken one after the other";

pub fn measure(run: &Run) -> Outcome {
    let seconds = run.pick(2.0, 0.6);
    let cluster = clusters::decoding(clusters::ours(), "wal2json,pgoutput").start();
    let _serving = cluster.serving();
    for Subject { table, .. } in &SUBJECTS {
        cluster
            .connect()
            .batch_execute(&format!("CREATE TABLE {table} (id int PRIMARY KEY)"))
            .expect("a table can be made");
    }
    hear::prepare(&cluster);

    let mut subjects: Vec<&Subject> = SUBJECTS.iter().filter(|subject| subject.is_here()).collect();
    let mut outcome = Outcome::new("Return of COMMIT to client", "ms", Better::Lower);
    let mut first = 1;
    for waits in ["on", "off"] {
        for rate in RATES {
            let commits = (f64::from(rate) * seconds) as i32;
            // In the order of the turns.
            let mut slow = Vec::new();
            let middle = turns_of(
                run.rounds(),
                &mut subjects,
                |subject| subject.name,
                |subject| {
                    let numbers = first..first + commits;
                    first = numbers.end;
                    let mut times = times(&cluster, subject, waits, rate, numbers);
                    times.sort_by(f64::total_cmp);
                    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100];
                    slow.push(percentile(99));
                    percentile(50)
                },
            );
            let at = |percentile| format!("synchronous_commit {waits}, {rate}/s, {percentile}");
            for (turn, (subject, middle)) in subjects.iter().zip(middle).enumerate() {
                let slow = slow.iter().copied().skip(turn).step_by(subjects.len()).collect();
                outcome.add(subject.name, at("p50"), middle);
                outcome.add(subject.name, at("p99"), slow);
            }
            let (p50, p99) = (outcome.median(OURS, &at("p50")), outcome.median(OURS, &at("p99")));
            if waits == "on" {
                outcome.goal_at_most(at("p50"), p50, 0.25).because(ASLEEP);
                outcome.goal_at_most(at("p99"), p99, 1.0).because(ASLEEP);
            } else {
                let flush = machine::flush(rate / 2, Some(Duration::from_secs(1) / rate));
                let name = format!("{}: a flush at that pace and 0.25 ms", at("p50"));
                outcome.goal_at_most(name, p50, flush + 0.25).because(ASLEEP);
                outcome.note(format!("{rate} flushes a second take {flush:.2} ms each."));
            }
        }
    }
    outcome.note(
        "One session commits one insert after the other; one client listens, a stream over HTTP/2. \
         Below nothing: heard before the writer was told of its commit.",
    );
    outcome
}

/// Commits at a pace, and gives the milliseconds from the return of each COMMIT until it was heard.
fn times(
    cluster: &Cluster,
    subject: &Subject,
    waits: &str,
    rate: u32,
    numbers: Range<i32>,
) -> Vec<f64> {
    let mut writer = cluster.connect();
    writer.batch_execute(&format!("SET synchronous_commit = {waits}")).expect("it can be set");
    let insert = format!("INSERT INTO {} VALUES ($1)", subject.table);
    let insert = writer.prepare(&insert).expect("it can be prepared");
    let hearing = (subject.hear)(cluster, subject.table, numbers.clone());
    let pace = Duration::from_secs(1) / rate;
    let mut at = Instant::now() + pace;
    let sent: Vec<Moment> = numbers
        .map(|number| {
            pause_until(at);
            // Never two at once: a commit that took long puts off those behind it.
            at = (at + pace).max(Instant::now());
            writer.execute(&insert, &[&number]).expect("it commits");
            (number, now())
        })
        .collect();
    let heard = hearing();
    let name = subject.name;
    let order = |moments: &[Moment]| moments.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(order(&heard), order(&sent), "{name} hears every commit once and in order");
    sent.iter().zip(&heard).map(|((_, sent), (_, heard))| (heard - sent) as f64 / 1e6).collect()
}

/// What Node calls `process.hrtime` and Rust's `Instant` does not give as a number.
fn now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
