//! Many prepared transactions, resolved in random order by other sessions, with writers queueing
//! on their rows, tokens minted all the while, a reader that follows, and crashes in between.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use event_source_tests::consume::Event;
use event_source_tests::consume::sql::event_page;
use event_source_tests::follow::{drain, explain};
use event_source_tests::{Cluster, Stop, wait_for, wait_until};
use postgres::{Client, Config, Error, NoTls};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::rebuild::{Rows, apply, rows_and_token, table};

const PREPARERS: usize = 4;
const RESOLVERS: usize = 3;
const WRITERS: usize = 6;
/// How many crashes and restarts there are while they are resolved.
const RESTARTS: usize = 4;
/// Writers queue on the rows of transactions that are this near to being resolved.
const NEAR: usize = 12;
/// About how many rows are kept, together, of the statements that minted a token.
const ROWS_KEPT: usize = 400_000;
/// For everything; a loaded machine may take long.
const LIMIT: Duration = Duration::from_secs(1800);

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What all threads of the run share.
struct Run {
    config: Config,
    /// The numbers of the transactions, from 1, in the order in which they are resolved.
    order: Vec<usize>,
    taken: AtomicUsize,
    resolved: AtomicUsize,
    /// The server runs: while it recovers, a storm of connections would only keep it from that.
    up: AtomicBool,
    /// All are resolved: writers end.
    done: AtomicBool,
    /// Nothing is written any more: readers end.
    quiet: AtomicBool,
    failed: AtomicBool,
}

/// Tells the others when its thread panics.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, SeqCst);
        }
    }
}

impl Run {
    fn new(cluster: &Cluster, count: usize, seed: usize) -> Self {
        let mut order: Vec<usize> = (1..=count).collect();
        order.shuffle(&mut SmallRng::seed_from_u64(seed as u64));
        Self {
            config: cluster.config(),
            order,
            taken: AtomicUsize::new(0),
            resolved: AtomicUsize::new(0),
            up: AtomicBool::new(true),
            done: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_until(what, LIMIT, || {
            assert!(!self.failed.load(SeqCst), "another thread failed");
            condition()
        });
    }

    /// Runs `work` with a connection until it succeeds; again, with a new one, whenever the server
    /// went away.
    fn persist<T>(&self, mut work: impl FnMut(&mut Client) -> Result<T, Error>) -> T {
        let _alarm = Alarm(&self.failed);
        loop {
            let mut client = wait_for("a connection", LIMIT, || {
                assert!(!self.failed.load(SeqCst), "another thread failed");
                if self.up.load(SeqCst) { self.config.connect(NoTls).ok() } else { None }
            });
            match work(&mut client) {
                Ok(done) => return done,
                Err(error) if went_away(&error) => {}
                Err(error) => panic!("{}", explain(&error)),
            }
        }
    }
}

fn went_away(error: &Error) -> bool {
    error.code().is_none_or(|code| code.code().starts_with("57P"))
}

fn is_prepared(client: &mut Client, name: &str) -> Result<bool, Error> {
    let sql = "SELECT FROM pg_prepared_xacts WHERE gid = $1";
    client.query_opt(sql, &[&name]).map(|found| found.is_some())
}

/// Each changes a row of its own, so that none waits for another, and something else beside it.
fn prepare(run: &Run, preparer: usize) {
    let count = run.order.len();
    run.persist(|client| {
        for n in (1..=count).filter(|n| n % PREPARERS == preparer) {
            let also = match n % 5 {
                0 => format!("DELETE FROM t WHERE id = {};", count + n),
                1 => format!("SAVEPOINT s; UPDATE t SET v = -1 WHERE id = {n}; ROLLBACK TO s;"),
                _ => format!("INSERT INTO t VALUES ({}, {n});", 2 * count + n),
            };
            client.batch_execute(&format!(
                "BEGIN; UPDATE t SET v = v + 1 WHERE id = {n}; {also} PREPARE TRANSACTION 'p{n}'"
            ))?;
        }
        Ok(())
    });
}

fn resolve(run: &Run) {
    let mut begun: Option<usize> = None;
    run.persist(|client| {
        loop {
            let again = begun;
            let next = || run.order.get(run.taken.fetch_add(1, SeqCst)).copied();
            let Some(n) = again.or_else(next) else { return Ok(()) };
            begun = Some(n);
            let name = format!("p{n}");
            let how = if n.is_multiple_of(7) { "ROLLBACK" } else { "COMMIT" };
            // When the server went away it may or may not have happened: it knows.
            if again.is_none() || is_prepared(client, &name)? {
                client.batch_execute(&format!("{how} PREPARED '{name}'"))?;
            }
            begun = None;
            run.resolved.fetch_add(1, SeqCst);
        }
    });
}

/// Queues on rows that are about to be free, by turns plainly and in two phases.
fn write(run: &Run, writer: usize) {
    let mut random = SmallRng::seed_from_u64(writer as u64);
    let name = format!("w{writer}");
    run.persist(|client| {
        if is_prepared(client, &name)? {
            client.batch_execute(&format!("COMMIT PREPARED '{name}'"))?;
        }
        while !run.done.load(SeqCst) {
            let near = run.taken.load(SeqCst) + random.random_range(0..NEAR);
            let n = run.order[near.min(run.order.len() - 1)];
            let change = format!("UPDATE t SET v = v + 1000 WHERE id = {n}");
            if random.random_ratio(1, 4) {
                client.batch_execute(&format!("BEGIN; {change}; PREPARE TRANSACTION '{name}'"))?;
                client.batch_execute(&format!("COMMIT PREPARED '{name}'"))?;
            } else {
                client.batch_execute(&change)?;
            }
        }
        Ok(())
    });
}

/// Reads on and on, through every restart.
fn follow(run: &Run, token: &str) -> Vec<Event> {
    let (mut cursor, mut events) = (None, Vec::new());
    run.persist(|client| {
        loop {
            let last = run.quiet.load(SeqCst);
            let page = event_page(client, token, cursor.as_deref(), 100, &["prev"])?;
            cursor = Some(page.cursor);
            let read = page.events.len();
            events.extend(page.events.into_iter().filter(|event| event.kind.is_change()));
            if last && read == 0 && !page.has_next {
                return Ok(());
            }
        }
    });
    events
}

/// Mints tokens together with the rows, and keeps some at random.
fn mint(run: &Run) -> Vec<(Rows, String)> {
    let most = (ROWS_KEPT / (3 * run.order.len())).clamp(4, 60);
    let mut random = SmallRng::seed_from_u64(0);
    let mut kept = Vec::new();
    run.persist(|client| {
        while !run.quiet.load(SeqCst) {
            let minted = rows_and_token(client)?;
            if kept.len() < most {
                kept.push(minted);
            } else {
                kept[random.random_range(0..most)] = minted;
            }
        }
        Ok(())
    });
    kept
}

fn restart(cluster: &mut Cluster, how: usize) {
    match how % 3 {
        0 => {
            cluster.kill();
            cluster.launch();
        }
        1 => cluster.restart(Stop::Immediate),
        _ => cluster.restart(Stop::Fast),
    }
}

#[test]
fn many_are_told_exactly_through_crashes_and_with_writers_queueing_on_their_rows() {
    let count = number("PREPARED", 300);
    let seed = number("PREPARED_SEED", 1);
    // A killed server is no power failure; without it thousands of state files are written to disk
    // at each start.
    let mut cluster = Cluster::options()
        .conf("max_prepared_transactions", count + 20)
        .conf("fsync", "off")
        .start();
    let mut client = cluster.connect();
    client
        .batch_execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL);
             SELECT event_source.capture('t');
             INSERT INTO t SELECT n, 0 FROM generate_series(1, 2 * {count}) n"
        ))
        .unwrap();
    let (rows, token) = rows_and_token(&mut client).unwrap();
    let run = Run::new(&cluster, count, seed);
    std::thread::scope(|scope| {
        let run = &run;
        for preparer in 0..PREPARERS {
            scope.spawn(move || prepare(run, preparer));
        }
    });
    let (followed, minted) = std::thread::scope(|scope| {
        let (run, token) = (&run, token.as_str());
        let _alarm = Alarm(&run.failed);
        let follower = scope.spawn(move || follow(run, token));
        let minter = scope.spawn(move || mint(run));
        for _ in 0..RESOLVERS {
            scope.spawn(move || resolve(run));
        }
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(run, writer))).collect();
        for part in 1..=RESTARTS {
            run.wait("a part of them to be resolved", || {
                run.resolved.load(SeqCst) >= part * count / (RESTARTS + 1)
            });
            run.up.store(false, SeqCst);
            restart(&mut cluster, part);
            run.up.store(true, SeqCst);
        }
        run.wait("all of them to be resolved", || run.resolved.load(SeqCst) == count);
        run.done.store(true, SeqCst);
        for writer in writers {
            writer.join().unwrap();
        }
        let mut client = cluster.connect();
        run.wait("nothing to be pending", || {
            let row = client
                .query_one("SELECT prepared + prepared_unstamped FROM event_source.status", &[]);
            row.unwrap().get::<_, i32>(0) == 0
        });
        run.quiet.store(true, SeqCst);
        (follower.join().unwrap(), minter.join().unwrap())
    });

    let mut client = cluster.connect();
    let now = table(&mut client);
    let events = drain(&mut client, &token, None);
    assert!(events.len() > count, "only {} events", events.len());
    assert_eq!(apply(rows, &events).as_ref(), Ok(&now), "seed {seed}: read at the end");
    let told = |events: &[Event]| -> Vec<_> {
        events.iter().map(|e| (e.txn_ts, e.key.clone(), e.kind, e.data.clone())).collect()
    };
    // A stamp below a position that was already given out would be missing from one of them.
    assert!(told(&followed) == told(&events), "seed {seed}: who followed saw something else");
    for (at, (rows, token)) in minted.into_iter().enumerate() {
        let tail = drain(&mut client, &token, None);
        assert_eq!(apply(rows, &tail).as_ref(), Ok(&now), "seed {seed}: token {at}");
    }
}
