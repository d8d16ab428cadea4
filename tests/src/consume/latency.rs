//! From COMMIT to the client, measured with one clock: a paced writer notes when it sends each
//! commit, a stream in the same process when the event is there.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Kind, Request, Stream};
use crate::Cluster;

/// Between two commits of the paced writer.
const PACE: Duration = Duration::from_millis(4);
const SILENCE: Duration = Duration::from_secs(30);

/// How long commits took to arrive.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// Measures `commits` commits, the time of the commit itself included, beside a transaction that
/// wrote before them and stays open. Creates table `t`.
///
/// # Panics
/// When an event does not come.
pub fn commit_to_client(cluster: &Cluster, commits: u32, open_writer: bool) -> Spread {
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t')")
        .expect("a table can be captured");
    let token: String = client.query_one("SELECT event_source('t')", &[]).expect("a token").get(0);
    let _serving = cluster.serving();
    let mut open = cluster.connect();
    if open_writer {
        open.batch_execute("BEGIN; INSERT INTO t VALUES (-1)").expect("a row is inserted");
    }

    let (opened, ready) = mpsc::channel();
    let address = cluster.http();
    let (sent, seen) = thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut stream = Stream::open(address, &Request::new(token)).expect("a stream opens");
            let mut seen = HashMap::new();
            while seen.len() < commits as usize {
                let event = stream.next(SILENCE).expect("an event comes").expect("it goes on");
                let now = Instant::now();
                match event.kind {
                    // The first line says that the stream is open.
                    Kind::Status => opened.send(()).expect("the writer listens"),
                    Kind::Add => {
                        let key = event.key.and_then(|key| key.as_u64()).expect("a number");
                        seen.insert(key, now);
                    }
                    Kind::Update | Kind::Remove | Kind::HistoryRewrite | Kind::Error => {
                        panic!("{event:?}")
                    }
                }
            }
            seen
        });
        ready.recv().expect("the stream opens");
        let insert = client.prepare("INSERT INTO t VALUES ($1)").expect("it can be prepared");
        let start = Instant::now();
        let mut sent = HashMap::new();
        for (number, at) in (1..=commits).zip((0..).map(|n| start + PACE * n)) {
            pause_until(at);
            sent.insert(u64::from(number), Instant::now());
            client.execute(&insert, &[&i32::try_from(number).expect("few")]).expect("it commits");
        }
        // Held until the last event is there: closing it would let late ones go.
        let seen = reader.join().expect("the reader panicked");
        open.batch_execute("ROLLBACK").expect("it rolls back");
        (sent, seen)
    });

    Spread::of(sent.iter().map(|(key, at)| seen[key] - *at).collect())
}

impl Spread {
    /// # Panics
    /// When nothing was measured.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// Waits for the moment of the next commit.
#[expect(
    clippy::disallowed_methods,
    reason = "a pace: commits at given times are what is measured"
)]
pub fn pause_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}
