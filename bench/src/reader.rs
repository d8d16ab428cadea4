//! A client that reads what is in the log, by pages or over one stream, and looks whether all of it comes.
//!
//! It runs on the caller's thread, over HTTP/1.1, and reads of each event only what it needs for that: of
//! single-row transactions each has to come behind the one before.

mod polls;
mod read;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use event_source_tests::consume::Version;
use event_source_tests::consume::http::Connection;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use polls::Polls;
use read::{Lines, Read, cursor_of};

/// Whose JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Native,
    /// With Fauna's tags.
    Fauna,
}

const LARGEST_PAGE: u32 = 16_000;

/// What reads one source from its token's start.
#[derive(Debug)]
pub struct Reader {
    address: SocketAddr,
    token: String,
    wire: Wire,
    runtime: Runtime,
}

impl Reader {
    /// # Panics
    /// When there is no runtime to be had.
    #[must_use]
    pub fn new(address: SocketAddr, token: String, wire: Wire) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { address, token, wire, runtime }
    }

    /// Reads all events by the largest pages, and gives the time that it took and the cursor behind them.
    ///
    /// # Panics
    /// When there are not exactly so many, or one comes twice.
    #[must_use]
    pub fn pages(&self, events: u64) -> (Duration, String) {
        let begun = Instant::now();
        let mut read = Read::default();
        let mut cursor = None;
        self.runtime.block_on(async {
            let mut connection = self.connect().await;
            loop {
                let page = self.page(&mut connection, cursor.as_deref(), LARGEST_PAGE).await;
                read.take(&page);
                cursor = Some(cursor_of(&page).to_owned());
                if !page.contains(r#","has_next":true"#) {
                    break;
                }
            }
        });
        assert_eq!(read.events, events, "not all events came in pages");
        (begun.elapsed(), cursor.expect("a page at least"))
    }

    /// Reads so many events over one stream, and gives the time that it took.
    ///
    /// # Panics
    /// When one is missing, or comes twice.
    #[must_use]
    pub fn stream(&self, events: u64) -> Duration {
        let begun = Instant::now();
        let read = self.runtime.block_on(async {
            let mut connection = self.connect().await;
            self.lines(&mut connection).await.until(events).await
        });
        assert_eq!(read, events, "more events came than there are");
        begun.elapsed()
    }

    /// Opens a stream as often as asked, each on a connection that is there, and gives the times to its
    /// status and to its first change.
    ///
    /// # Panics
    /// When a stream does not open.
    #[must_use]
    pub fn first_events(&self, times: u32) -> Vec<[Duration; 2]> {
        let first = async || {
            let mut connection = self.connect().await;
            // Programs keep their connections: what a new one takes is not a stream's.
            self.page(&mut connection, None, 1).await;
            let begun = Instant::now();
            let mut lines = self.lines(&mut connection).await;
            lines.until_anything().await;
            let status = begun.elapsed();
            lines.until(1).await;
            [status, begun.elapsed()]
        };
        self.runtime.block_on(async {
            let mut times_taken = Vec::new();
            for _ in 0..times {
                times_taken.push(first().await);
            }
            times_taken
        })
    }

    /// Asks for the page behind a cursor as often as it can on some connections, and gives the pages a
    /// second.
    ///
    /// # Panics
    /// When a page is not the empty one that it has to be.
    #[must_use]
    pub fn polls(&self, cursor: &str, connections: u32, each: u32) -> f64 {
        let body = json!({ "token": self.token, "page_size": 100, "cursor": cursor }).to_string();
        let mut polls = Polls::open(self.address, connections, &body);
        let begun = Instant::now();
        for _ in 0..each {
            polls.once();
        }
        f64::from(connections * each) / begun.elapsed().as_secs_f64()
    }

    /// Asks for the page at the token's start so often on one connection, and gives the time of each.
    ///
    /// # Panics
    /// When one does not have so many events.
    #[must_use]
    pub fn first_pages(&self, size: u32, times: u32) -> Vec<Duration> {
        self.runtime.block_on(async {
            let mut connection = self.connect().await;
            let mut times_taken = Vec::new();
            for _ in 0..times {
                let begun = Instant::now();
                let page = self.page(&mut connection, None, size).await;
                times_taken.push(begun.elapsed());
                let mut read = Read::default();
                read.take(&page);
                assert_eq!(read.events, u64::from(size), "a page is not full");
            }
            times_taken
        })
    }

    async fn connect(&self) -> Connection {
        Connection::open(self.address, Version::Http1).await.expect("the server takes connections")
    }

    async fn page(&self, connection: &mut Connection, cursor: Option<&str>, size: u32) -> String {
        let mut body = json!({ "token": self.token, "page_size": size });
        if let Some(cursor) = cursor {
            body["cursor"] = json!(cursor);
        }
        let answer = self.post(connection, Ask::Page, &body).await;
        let bytes = answer.into_body().collect().await.expect("a whole page").to_bytes();
        String::from_utf8(bytes.into()).expect("JSON is UTF-8")
    }

    /// Opens a stream.
    async fn lines(&self, connection: &mut Connection) -> Lines {
        let body = json!({ "token": self.token });
        Lines::of(self.post(connection, Ask::Stream, &body).await.into_body())
    }

    async fn post(
        &self,
        connection: &mut Connection,
        ask: Ask,
        body: &Value,
    ) -> Response<Incoming> {
        let bearer = format!("Bearer {}", self.token);
        let (path, headers) = match (self.wire, ask) {
            (Wire::Native, Ask::Page) => ("/v1/feed", vec![]),
            (Wire::Native, Ask::Stream) => ("/v1/stream", vec![]),
            (Wire::Fauna, Ask::Page) => ("/feed/1", vec![("authorization", bearer.as_str())]),
            (Wire::Fauna, Ask::Stream) => ("/stream/1", vec![("authorization", bearer.as_str())]),
        };
        let answer = connection.post(self.address, path, &headers, body).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path} is refused");
        answer
    }
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Page,
    Stream,
}
