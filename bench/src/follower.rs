//! A client that follows a stream and looks whether all of it comes.
//!
//! It runs on a thread of its own, over HTTP/2, and reads of each line only what it needs for that:
//! transactions rise, and no row comes twice in one. How many there have to be is known to whoever
//! writes. It panics in its thread otherwise, and [`Hearing::heard`] does so then.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use event_source_tests::consume::Version;
use event_source_tests::consume::http::Connection;
use event_source_tests::wait_until;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::peers::Hearing;

#[derive(Debug)]
pub struct Follower {
    changes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
}

impl Follower {
    /// Opens a stream and returns when it has said that it is open.
    ///
    /// # Panics
    /// When it does not open.
    #[must_use]
    pub fn open(address: SocketAddr, token: String) -> Self {
        let changes = Arc::new(AtomicU64::new(0));
        let opened = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let reader = Reader {
            changes: Arc::clone(&changes),
            opened: Arc::clone(&opened),
            last: 0,
            keys: HashSet::new(),
        };
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = reader.read(address, token) => {}
                    _ = stopped => {}
                }
            });
        });
        let follower = Self { changes, thread: Some(thread), stop: Some(stop) };
        wait_until("a stream to open", Duration::from_secs(60), || {
            follower.check();
            opened.load(Ordering::Acquire) > 0
        });
        follower
    }

    fn check(&self) {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "the reader of a stream has ended, see above");
    }
}

impl Hearing for Follower {
    fn heard(&mut self) -> u64 {
        self.check();
        self.changes.load(Ordering::Acquire)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.stop.take());
        // How it ended was looked at when it mattered.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

struct Reader {
    changes: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
    /// The transaction that is being told, and the rows of it that were.
    last: u64,
    keys: HashSet<u64>,
}

impl Reader {
    async fn read(mut self, address: SocketAddr, token: String) {
        let mut connection =
            Connection::open(address, Version::Http2).await.expect("the server takes connections");
        let body = json!({ "token": token });
        let answer = connection.post(address, "/v1/stream", &[], &body).await.expect("an answer");
        assert_eq!(answer.status(), 200, "a stream is refused");
        let mut body = answer.into_body();
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.expect("the stream goes on").into_data() else { continue };
            read.extend_from_slice(&data);
            let Some(end) = read.iter().rposition(|byte| *byte == b'\n') else { continue };
            let lines = std::str::from_utf8(&read[..end]).expect("JSON is UTF-8");
            let changes = lines.split('\n').filter(|line| self.take(line)).count();
            read.advance(end + 1);
            self.changes.fetch_add(changes as u64, Ordering::Release);
        }
        panic!("the stream has ended");
    }

    /// Whether a line is a change.
    fn take(&mut self, line: &str) -> bool {
        if line.starts_with(r#"{"type":"status""#) {
            self.opened.fetch_add(1, Ordering::Release);
            return false;
        }
        assert!(!line.starts_with(r#"{"type":"error""#), "the stream ends: {line}");
        let (txn, key) = (behind(line, r#""txn_ts":"#), behind(line, r#""key":"#));
        assert!(txn >= self.last, "{txn} comes behind {}", self.last);
        if txn > self.last {
            self.last = txn;
            self.keys.clear();
        }
        assert!(self.keys.insert(key), "row {key} comes twice in {txn}");
        true
    }
}

/// The number behind the first of this.
fn behind(line: &str, name: &str) -> u64 {
    let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("no {name} in {line}"));
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().unwrap_or_else(|_| panic!("no number behind {name} in {line}"))
}
