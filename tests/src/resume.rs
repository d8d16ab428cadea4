//! A client that resumes through everything, beside a writer that may notice nothing.
//!
//! Both run in threads of the test and use table `t` with a bigint key `id` and a column `v`. The
//! client goes by cursor alone, as every program can; what it missed or got twice shows in the end,
//! when its events are held against the table.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::consume::{Event, Failed, Request, Stream};
use crate::wait::wait_until;

const LONG: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(200);

/// Runs `meanwhile` while a session commits one row after the other; it may notice nothing.
/// Returns how many it committed.
///
/// # Panics
/// When the session noticed something.
pub fn beside_a_writer(cluster: &Cluster, meanwhile: impl FnOnce()) -> u64 {
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = cluster.connect();
            while !stop.load(Ordering::Relaxed) {
                client.batch_execute("INSERT INTO t (v) VALUES (1)").expect("nothing to notice");
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Also when `meanwhile` fails: the scope waits for the writer.
        let _end = OnDrop(|| stop.store(true, Ordering::Relaxed));
        wait_until("the writer to write", LONG, || written.load(Ordering::Relaxed) > 10);
        meanwhile();
    });
    written.into_inner()
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The key of a change in `t`; `None` for a status or an error.
///
/// # Panics
/// When a change has none.
#[must_use]
pub fn changed(event: &Event) -> Option<i64> {
    let key = || event.key.as_ref().and_then(serde_json::Value::as_i64);
    event.kind.is_change().then(|| key().expect("a change of t has its key"))
}

/// Reads from the token's start, resuming by cursor whenever the connection breaks, until there are
/// `wanted` changes; while that is `None`, on and on.
///
/// # Panics
/// When they do not come within a minute.
pub fn follow_until(
    address: SocketAddr,
    token: &str,
    wanted: impl Fn() -> Option<usize>,
) -> Vec<i64> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    let deadline = Instant::now() + LONG;
    let enough = |keys: &Vec<i64>| wanted().is_some_and(|wanted| keys.len() >= wanted);
    while !enough(&keys) {
        assert!(Instant::now() < deadline, "{} changes only", keys.len());
        let request = Request::new(token).after(cursor.clone());
        let Ok(mut stream) = Stream::open(address, &request) else { continue };
        loop {
            match stream.next(GLANCE) {
                Ok(Some(event)) => {
                    keys.extend(changed(&event));
                    // A terminal error carries none: go on from where we were.
                    cursor = event.cursor.or(cursor);
                }
                Err(Failed::TimedOut(_)) if !enough(&keys) && Instant::now() < deadline => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
    keys
}

/// Has a client follow while `disturb` does its worst; it may miss nothing and get nothing twice.
///
/// # Panics
/// When it does.
pub fn resumes_exactly(cluster: &Cluster, token: &str, disturb: impl FnOnce(&Cluster)) {
    let total = OnceLock::new();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow_until(cluster.http(), token, || total.get().copied()));
        // When `disturb` fails, the follower is not to wait for what will never come.
        let _end = OnDrop(|| {
            let _already = total.set(0);
        });
        disturb(cluster);
        let table = keys_of_t(cluster);
        total.set(table.len()).expect("the guard comes later");
        let mut keys = follower.join().expect("the follower read it all");
        keys.sort_unstable();
        assert_eq!(keys, table, "a miss or a repeat");
    });
}

/// The keys of table `t`, ascending.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn keys_of_t(cluster: &Cluster) -> Vec<i64> {
    let rows = cluster.connect().query("SELECT id FROM t ORDER BY id", &[]);
    rows.expect("t can be read").iter().map(|row| row.get(0)).collect()
}
