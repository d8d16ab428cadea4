//! What ten thousand index-set sources on one table cost a change, beside one.
//!
//! Measured as CPU time of worker and server together per change, since that is what sources can
//! cost: the writer does not know of them. Twice: with every change in the first source's set, so
//! that exactly one event is sent either way and only the matching differs, and with the changes
//! spread over all sets.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use event_source_tests::consume::Version;
use event_source_tests::consume::http::Connection;
use event_source_tests::{Cluster, Pid, wait_until};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::clusters;
use crate::turns::turns;
use crate::work::{Better, Outcome, Run, median, ratios};

const SOURCES: i32 = 10_000;
/// Streams on one HTTP/2 connection.
const STREAMS: usize = 100;
/// Further rows of the first set, so that writers do not wait for each other's row.
const BUSY: i32 = 1000;
const WRITERS: i32 = 4;

pub fn measure(run: &Run) -> Outcome {
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let changes = run.pick(40_000, 6_000);
    // Two clusters, so that what is compared can take turns.
    let one = Bench::start(&runtime, 1, changes);
    let many = Bench::start(&runtime, SOURCES, changes);
    let names = [
        "one source, every change in it",
        "10,000 sources, every change in one of them",
        "10,000 sources, the changes spread over all",
    ];
    let measured = turns(
        run.rounds(),
        &mut [
            (names[0], &mut || one.round(Spreading::One)),
            (names[1], &mut || many.round(Spreading::One)),
            (names[2], &mut || many.round(Spreading::All)),
        ],
    );
    let title = "CPU of worker and server per single-row change";
    let mut outcome = Outcome::new(title, "us", Better::Lower);
    for (name, samples) in names.iter().zip(&measured) {
        outcome.add("event_source", *name, samples.clone());
    }
    for (name, samples) in names.iter().zip(&measured).skip(1) {
        outcome.goal_at_most(
            format!("{name}, over one source"),
            median(&ratios(samples, &measured[0])),
            1.2,
        )
        .because(
            "each change is a frame of a stream of its own, whose state is in no cache of the processor, where \
             those of one source share a frame and its write: by profile 8 us of the server instead of 2, of \
             the worker 6 instead of 5",
        );
    }
    outcome
        .note("The writer does not know of sources: what they cost is CPU of worker and server.");
    outcome
}

/// The table: a row a set, and further ones in the first set.
fn prepare(cluster: &Cluster) {
    let mut client = cluster.connect();
    client
        .batch_execute(&format!(
            "CREATE TABLE item (id int PRIMARY KEY, shop int NOT NULL, price int NOT NULL);
             CREATE INDEX item_by_shop ON item (shop) INCLUDE (price);
             INSERT INTO item SELECT id, id, 0 FROM generate_series(1, {SOURCES}) AS id;
             INSERT INTO item SELECT {SOURCES} + id, 1, 0 FROM generate_series(1, {BUSY}) AS id;
             SELECT event_source.capture('item');"
        ))
        .expect("the table can be captured");
}

/// A token for each of the first sets.
fn tokens(cluster: &Cluster, sets: i32) -> Vec<String> {
    let mint = "SELECT event_source('item_by_shop', terms => ARRAY[n]) FROM generate_series(1, $1::int) AS n";
    let rows = cluster.connect().query(mint, &[&sets]).expect("tokens are minted");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Opens a stream a token; each counts its events until the benchmark ends. Returns when all
/// have said that they are open.
fn open(runtime: &Runtime, address: SocketAddr, tokens: &[String], events: &Arc<AtomicU64>) {
    let opened = Arc::new(AtomicU64::new(0));
    for tokens in tokens.chunks(STREAMS) {
        let (tokens, opened, events) = (tokens.to_vec(), Arc::clone(&opened), Arc::clone(events));
        runtime.spawn(async move {
            let mut connection = Connection::open(address, Version::Http2)
                .await
                .expect("the server takes connections");
            let mut streams = tokio::task::JoinSet::new();
            for token in tokens {
                let body = json!({ "token": token });
                let answer =
                    connection.post(address, "/v1/stream", &[], &body).await.expect("an answer");
                assert_eq!(answer.status(), 200, "a stream is refused");
                streams.spawn(count(answer.into_body(), Arc::clone(&opened), Arc::clone(&events)));
            }
            while let Some(ended) = streams.join_next().await {
                ended.expect("a stream's reader panicked");
            }
        });
    }
    wait_until("all streams to be open", Duration::from_secs(120), || {
        opened.load(Ordering::Relaxed) == tokens.len() as u64
    });
}

/// Counts lines: the first is the status that says that the stream is open.
async fn count(mut body: hyper::body::Incoming, opened: Arc<AtomicU64>, events: Arc<AtomicU64>) {
    let mut first = true;
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        let mut lines = data.iter().filter(|byte| **byte == b'\n').count() as u64;
        if first && lines > 0 {
            first = false;
            lines -= 1;
            opened.fetch_add(1, Ordering::Relaxed);
        }
        events.fetch_add(lines, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
enum Spreading {
    One,
    All,
}

struct Bench {
    cluster: Cluster,
    processes: [Pid; 2],
    events: Arc<AtomicU64>,
    /// Of a round.
    changes: i32,
}

impl Bench {
    /// A cluster with that many sources followed, and warm.
    fn start(runtime: &Runtime, sources: i32, changes: i32) -> Self {
        let cluster = clusters::ours()
            .conf("synchronous_commit", "off")
            // A quiet stream's status is a cost of time, not of changes.
            .conf("event_source.status_interval", "10min")
            .start();
        let (worker, server) = cluster.serving();
        prepare(&cluster);
        let events = Arc::default();
        open(runtime, cluster.http(), &tokens(&cluster, sources), &events);
        let bench = Self { cluster, processes: [worker, server], events, changes };
        bench.round(Spreading::One);
        bench
    }

    /// Makes the changes, waits for their events, and gives the microseconds a change.
    fn round(&self, spreading: Spreading) -> f64 {
        let (before, seen) = (self.cpu(), self.events.load(Ordering::Relaxed));
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    let mut client = self.cluster.connect();
                    let update = client
                        .prepare("UPDATE item SET price = price + 1 WHERE id = $1")
                        .expect("it can be prepared");
                    for number in (writer..self.changes).step_by(WRITERS as usize) {
                        let id = match spreading {
                            Spreading::One => SOURCES + number % BUSY + 1,
                            Spreading::All => number % SOURCES + 1,
                        };
                        client.execute(&update, &[&id]).expect("a row is updated");
                    }
                });
            }
        });
        wait_until("every event to arrive", Duration::from_secs(60), || {
            self.events.load(Ordering::Relaxed) == seen + u64::from(self.changes.unsigned_abs())
        });
        (self.cpu() - before) / f64::from(self.changes) * 1e6
    }

    /// Seconds that all threads of worker and server have run.
    fn cpu(&self) -> f64 {
        let mut nanoseconds = 0;
        for process in self.processes {
            let threads = fs::read_dir(format!("/proc/{}/task", process.0)).expect("it runs");
            for thread in threads {
                let path = thread.expect("a directory entry").path().join("schedstat");
                let text = fs::read_to_string(path).expect("threads live as long as the process");
                let running = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
                nanoseconds += running.expect("a number");
            }
        }
        Duration::from_nanos(nanoseconds).as_secs_f64()
    }
}
