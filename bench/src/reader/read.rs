//! What a client takes of what it reads: how many events there were, and that each came behind the one
//! before.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use memchr::memmem;

const TXN_TS: &str = r#""txn_ts":"#;
const CURSOR: &str = r#""cursor":""#;

/// Nothing that is measured here takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) events: u64,
    statuses: u64,
    last: u64,
}

/// A stream that is open.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    /// The end of what came, which is no whole line: a client is handed pieces of chunks.
    rest: BytesMut,
    read: Read,
}

impl Lines {
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, rest: BytesMut::new(), read: Read::default() }
    }

    /// Reads until there were at least so many events, and gives how many there were.
    pub(super) async fn until(&mut self, events: u64) -> u64 {
        // A stream that left one out would say its status for ever.
        let all = async {
            while self.read.events < events {
                self.piece().await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("all events come in time");
        self.read.events
    }

    /// Reads until the stream has said anything.
    pub(super) async fn until_anything(&mut self) {
        while self.read.events + self.read.statuses == 0 {
            self.piece().await;
        }
    }

    async fn piece(&mut self) {
        let frame = self.body.frame().await.expect("the stream goes on").expect("unbroken");
        let Ok(data) = frame.into_data() else { return };
        self.rest.extend_from_slice(&data);
        // What was there before has no line's end.
        let new = self.rest.len() - data.len();
        let Some(end) = memchr::memrchr(b'\n', &self.rest[new..]) else { return };
        let end = new + end;
        self.read.lines(std::str::from_utf8(&self.rest[..end]).expect("JSON is UTF-8"));
        self.rest.advance(end + 1);
    }
}

impl Read {
    /// The events of a page.
    pub(super) fn take(&mut self, page: &str) {
        for (at, name) in page.match_indices(TXN_TS) {
            self.event(&page[at + name.len()..]);
        }
    }

    /// Lines of a stream, statuses among them.
    fn lines(&mut self, lines: &str) {
        for line in lines.split('\n') {
            assert!(!line.starts_with(r#"{"type":"error""#), "the stream ends: {line}");
            if line.starts_with(r#"{"type":"status""#) {
                self.statuses += 1;
            } else if !line.trim_end().is_empty() {
                // Behind the row, whose texts may say anything.
                let at = memmem::rfind(line.as_bytes(), TXN_TS.as_bytes());
                let at = at.expect("an event says its transaction") + TXN_TS.len();
                self.event(&line[at..]);
            }
        }
    }

    fn event(&mut self, behind: &str) {
        let digits = behind.bytes().take_while(u8::is_ascii_digit);
        let txn = digits.fold(0, |txn, digit| txn * 10 + u64::from(digit - b'0'));
        assert!(txn > self.last, "{txn} comes behind {}", self.last);
        (self.last, self.events) = (txn, self.events + 1);
    }
}

/// A page's own cursor: the last one in it.
pub(super) fn cursor_of(page: &str) -> &str {
    let at = page.rfind(CURSOR).expect("a page has a cursor") + CURSOR.len();
    page[at..].split('"').next().expect("a text ends")
}
