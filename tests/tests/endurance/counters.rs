//! A table of counters: each change adds one to a row, so a follower notices by a row's own value
//! whatever is lost, comes twice or comes in another order.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use event_source_tests::consume::latency::pause_until;
use event_source_tests::consume::{Event, Request, Stream, sql};
use event_source_tests::{Cluster, wait_until};
use postgres::Client;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

pub const ROWS: usize = 4000;
const SESSIONS: usize = 4;
/// Rows of one transaction.
const MOST_ROWS: usize = 20;
/// One transaction of so many is rolled back.
const ROLLED_BACK: u32 = 50;
/// Writers wait while a follower is further behind: the log holds a few times as much.
const MOST_BEHIND: i64 = 10_000;
const PAUSE: Duration = Duration::from_millis(5);
pub use event_source_tests::wait::LONG;

/// How far everybody is, in changes.
#[derive(Debug, Default)]
pub struct Progress {
    /// Writers stop here for the moment.
    limit: AtomicI64,
    written: AtomicI64,
    streamed: AtomicI64,
    paged: AtomicI64,
    pub over: AtomicBool,
}

impl Progress {
    /// Lets the writers go on to `limit`, and waits until everybody is there.
    pub fn reach(&self, limit: i64) {
        self.limit.store(limit, Ordering::SeqCst);
        let mut before = 0;
        // As long as something moves it may take its time.
        while self.seen() < limit {
            wait_until("somebody to go on", LONG, || self.seen() > before);
            before = self.seen();
        }
        wait_until("the last changes to be seen", LONG, || self.behind() == 0);
    }

    /// What every follower has seen.
    fn seen(&self) -> i64 {
        self.streamed.load(Ordering::SeqCst).min(self.paged.load(Ordering::SeqCst))
    }

    fn behind(&self) -> i64 {
        self.written.load(Ordering::SeqCst) - self.seen()
    }

    pub fn written(&self) -> i64 {
        self.written.load(Ordering::SeqCst)
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

pub fn create(client: &mut Client) {
    client
        .batch_execute(&format!(
            "CREATE TABLE counter (id int PRIMARY KEY, v bigint NOT NULL) WITH (fillfactor = 50);
             INSERT INTO counter SELECT n, 0 FROM generate_series(0, {}) n;
             SELECT event_source.capture('counter')",
            ROWS - 1
        ))
        .unwrap();
}

/// Starts writers and followers, who run until it is over.
pub fn start<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    cluster: &'scope Cluster,
    token: &'scope str,
    progress: &'scope Progress,
) {
    for session in 0..SESSIONS {
        scope.spawn(move || write(&mut cluster.connect(), session, progress));
    }
    scope.spawn(move || stream(cluster, token, progress));
    scope.spawn(move || pages(&mut cluster.connect(), token, progress));
}

/// Each session has rows of its own, so that none waits for another.
fn write(client: &mut Client, session: usize, progress: &Progress) {
    let mut random = StdRng::seed_from_u64(session as u64);
    let update = client.prepare("UPDATE counter SET v = v + 1 WHERE id = ANY ($1)").unwrap();
    while !progress.is_over() {
        let paused = progress.written() >= progress.limit.load(Ordering::SeqCst);
        if paused || progress.behind() > MOST_BEHIND {
            pause_until(Instant::now() + PAUSE);
            continue;
        }
        let mut ids: Vec<i32> = (0..random.random_range(1..=MOST_ROWS))
            .map(|_| (random.random_range(0..ROWS / SESSIONS) * SESSIONS + session) as i32)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut transaction = client.transaction().unwrap();
        transaction.execute(&update, &[&ids]).unwrap();
        if random.random_ratio(1, ROLLED_BACK) {
            transaction.rollback().unwrap();
            continue;
        }
        // Before anybody can have seen them.
        progress.written.fetch_add(ids.len() as i64, Ordering::SeqCst);
        transaction.commit().unwrap();
    }
}

/// What a follower knows of the counters.
struct Counters(Vec<i64>);

impl Counters {
    fn apply(&mut self, event: &Event) {
        let row = event.data.as_ref().unwrap();
        let (id, v) = (row["id"].as_u64().unwrap() as usize, row["v"].as_i64().unwrap());
        assert_eq!(v, self.0[id] + 1, "row {id}");
        self.0[id] = v;
    }
}

fn stream(cluster: &Cluster, token: &str, progress: &Progress) {
    let mut stream = Stream::open(cluster.http(), &Request::new(token)).unwrap();
    let mut counters = Counters(vec![0; ROWS]);
    while !progress.is_over() {
        let event = stream.next(LONG).unwrap().expect("the stream goes on");
        if event.kind.is_change() {
            counters.apply(&event);
            progress.streamed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn pages(client: &mut Client, token: &str, progress: &Progress) {
    let mut counters = Counters(vec![0; ROWS]);
    let mut cursor = None;
    while !progress.is_over() {
        let page = sql::event_page(client, token, cursor.as_deref(), 1000, &[]).unwrap();
        let mut seen = 0;
        for event in page.events.iter().filter(|event| event.kind.is_change()) {
            counters.apply(event);
            seen += 1;
        }
        progress.paged.fetch_add(seen, Ordering::SeqCst);
        cursor = Some(page.cursor);
        if !page.has_next {
            pause_until(Instant::now() + PAUSE);
        }
    }
}
