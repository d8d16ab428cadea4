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

/// A commit of the paced writer.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub sent: Instant,
    /// Until its event was there, the commit itself included.
    pub took: Duration,
}

/// Measures `commits` commits beside a transaction that wrote before them and stays open. Creates
/// table `t`.
///
/// # Panics
/// When an event does not come.
pub fn commit_to_client(cluster: &Cluster, commits: u32, open_writer: bool) -> Spread {
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t')")
        .expect("a table can be captured");
    let mut open = cluster.connect();
    if open_writer {
        open.batch_execute("BEGIN; INSERT INTO t VALUES (-1)").expect("a row is inserted");
    }
    let arrivals = arrivals(cluster, "t", |number| number < commits);
    // Held until the last event is there: closing it would let late ones go.
    open.batch_execute("ROLLBACK").expect("it rolls back");
    Spread::of(arrivals.iter().map(|arrival| arrival.took).collect())
}

/// Inserts into the empty captured table `table (id int PRIMARY KEY)` at a pace, for as long as
/// there are to be `more` than so many commits.
///
/// # Panics
/// When an event does not come.
pub fn arrivals(cluster: &Cluster, table: &str, mut more: impl FnMut(u32) -> bool) -> Vec<Arrival> {
    const LAST: i32 = -2;
    let mut client = cluster.connect();
    let token: String =
        client.query_one("SELECT event_source($1)", &[&table]).expect("a token").get(0);
    let _serving = cluster.serving();
    let (opened, ready) = mpsc::channel();
    let address = cluster.http();
    let (sent, seen) = thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut stream = Stream::open(address, &Request::new(token)).expect("a stream opens");
            let mut seen = HashMap::new();
            loop {
                let event = stream.next(SILENCE).expect("an event comes").expect("it goes on");
                let now = Instant::now();
                match event.kind {
                    // The first line says that the stream is open; the writer needs no other.
                    Kind::Status => drop(opened.send(())),
                    Kind::Add => {
                        let key = event.key.and_then(|key| key.as_i64()).expect("a number");
                        if key == i64::from(LAST) {
                            return seen;
                        }
                        seen.insert(key, now);
                    }
                    Kind::Update | Kind::Remove | Kind::HistoryRewrite | Kind::Error => {
                        panic!("{event:?}")
                    }
                }
            }
        });
        ready.recv().expect("the stream opens");
        let insert = client
            .prepare(&format!("INSERT INTO {table} VALUES ($1)"))
            .expect("it can be prepared");
        let mut commit = |key: i32| client.execute(&insert, &[&key]).expect("it commits");
        let start = Instant::now();
        let mut sent = Vec::new();
        for number in 0.. {
            if !more(number) {
                break;
            }
            pause_until(start + PACE * number);
            sent.push(Instant::now());
            commit(i32::try_from(number).expect("few"));
        }
        commit(LAST);
        (sent, reader.join().expect("the reader panicked"))
    });
    let arrival = |(key, &sent): (i64, &Instant)| Arrival { sent, took: seen[&key] - sent };
    (0..).zip(&sent).map(arrival).collect()
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
