//! A client that builds a copy of a table from a snapshot and its tail, and loses its connection.

use std::collections::BTreeMap;

use event_source_tests::consume::{Event, Feed, Form, Kind, Request, Stream, Version};
use event_source_tests::{Cluster, Signal, wait_for};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::LONG;

/// How the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Lines,
    Sse,
    Feed,
}

/// A copy of a table `t (id int, v text, w int)`.
#[derive(Debug)]
pub(crate) struct Copy<'a> {
    cluster: &'a Cluster,
    token: String,
    reader: Reader,
    rng: StdRng,
    /// It loses its connection after at most so many events.
    cut_after: Option<u32>,
    strikes: bool,
    cursor: Option<String>,
    /// `v` and `w` by `id`.
    pub(crate) rows: BTreeMap<i64, (Option<String>, Option<i32>)>,
    /// It was told that it has all rows that there were.
    pub(crate) is_complete: bool,
}

impl<'a> Copy<'a> {
    pub(crate) fn of(cluster: &'a Cluster, token: &str, reader: Reader, seed: u64) -> Self {
        Self {
            cluster,
            token: token.to_owned(),
            reader,
            rng: StdRng::seed_from_u64(seed),
            cut_after: None,
            strikes: false,
            cursor: None,
            rows: BTreeMap::new(),
            is_complete: false,
        }
    }

    pub(crate) fn cut_after(self, events: u32) -> Self {
        Self { cut_after: Some(events), ..self }
    }

    /// Now and then it is not the connection that breaks: the server is killed, the worker ended.
    pub(crate) fn with_strikes(self) -> Self {
        Self { strikes: true, ..self }
    }

    /// Reads until it is enough.
    pub(crate) fn follow(&mut self, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let most = self.cut_after.unwrap_or(u32::MAX);
            let patience = self.rng.random_range(1..=most).max(most / 100);
            match self.reader {
                Reader::Feed => self.read_pages(&enough, patience),
                Reader::Lines => self.read_stream(&enough, patience, Form::Lines, Version::Http2),
                Reader::Sse => self.read_stream(&enough, patience, Form::Sse, Version::Http1),
            }
        }
    }

    fn read_stream(
        &mut self,
        enough: &impl Fn(&Self) -> bool,
        patience: u32,
        form: Form,
        version: Version,
    ) {
        let request = Request::new(&self.token).with_snapshot().over(form, version);
        let request = request.after(self.cursor.clone());
        let mut stream = wait_for("the stream to open", LONG, || {
            Stream::open(self.cluster.http(), &request).ok()
        });
        for _ in 0..patience {
            let event = stream.next(LONG).expect("an event").expect("the stream goes on");
            self.apply(event);
            if enough(self) {
                return;
            }
        }
        if self.strikes {
            self.strike();
        }
    }

    fn strike(&mut self) {
        let (worker, server) = self.cluster.serving();
        match self.rng.random_range(0..8) {
            0 => server.signal(Signal::KILL),
            1 => worker.signal(Signal::TERM),
            _ => {}
        }
    }

    fn read_pages(&mut self, enough: &impl Fn(&Self) -> bool, patience: u32) {
        let mut feed = Feed::new(self.cluster.http(), Version::Http1).expect("a client");
        let mut read = 0;
        while read < patience && !enough(self) {
            let size = self.rng.random_range(1..=3_000);
            let more = json!({ "snapshot": true, "page_size": size, "wait": 1 });
            let page = feed.page(&self.token, self.cursor.as_deref(), &more).expect("a page");
            read += size;
            page.events.into_iter().for_each(|event| self.apply(event));
            self.cursor = Some(page.cursor);
        }
    }

    fn apply(&mut self, event: Event) {
        let key = || event.key.as_ref().and_then(Value::as_i64).expect("a number as key");
        match event.kind {
            Kind::Add | Kind::Update => {
                let data = event.data.as_ref().expect("a row");
                let w = data["w"].as_i64().map(|w| i32::try_from(w).expect("an int"));
                self.rows.insert(key(), (data["v"].as_str().map(str::to_owned), w));
            }
            Kind::Remove => drop(self.rows.remove(&key())),
            Kind::Status => self.is_complete |= event.snapshot.is_some(),
            Kind::HistoryRewrite | Kind::Error => panic!("{event:?}"),
        }
        self.cursor = event.cursor;
    }
}
