//! An official driver of Fauna v10 in a process of its own, and what its program printed.

use event_source_tests::Cluster;
use event_source_tests::program::Program;
use serde_json::{Value, json};

/// Which driver, over which of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    NodeHttp2,
    NodeFetch,
    Python,
}

pub(crate) const DRIVERS: [Driver; 3] = [Driver::NodeHttp2, Driver::NodeFetch, Driver::Python];

/// A driver at work.
#[derive(Debug)]
pub(crate) struct Following(Program);

impl Driver {
    /// Starts the program. `config` is what `tests/clients/node/follow.js` explains.
    pub(crate) fn start(self, cluster: &Cluster, config: &Value) -> Following {
        let mut config = config.clone();
        config["endpoint"] = json!(format!("http://{}", cluster.http()));
        let program = match self {
            Self::NodeHttp2 | Self::NodeFetch => {
                config["client"] = json!(if self == Self::NodeFetch { "fetch" } else { "http2" });
                "node/follow.js"
            }
            Self::Python => "python/follow.py",
        };
        Following(Program::driver(program, &config))
    }

    /// What a value should be decoded to: Node's classes or Python's.
    pub(crate) fn decodes(self, node: Value, python: Value) -> Value {
        if self == Self::Python { python } else { node }
    }
}

impl Following {
    /// Waits until the stream is open: its first status.
    pub(crate) fn opened(self) -> Self {
        let line = self.0.line();
        assert!(line["open"].is_string(), "not open: {line}");
        self
    }

    /// The next event, statuses left out.
    pub(crate) fn event(&self) -> Value {
        loop {
            let line = self.0.line();
            if line["open"].is_null() {
                assert!(line["event"].is_object(), "no event: {line}");
                return line["event"].clone();
            }
        }
    }

    /// The next `count` events, and that the program then ended well.
    pub(crate) fn events(self, count: usize) -> Vec<Value> {
        let events = (0..count).map(|_| self.event()).collect();
        self.ended();
        events
    }

    /// All pages of a feed.
    pub(crate) fn pages(self) -> Vec<Value> {
        let mut pages = Vec::new();
        while let Some(line) = self.0.line_or_end() {
            if line["end"] == true {
                return pages;
            }
            assert!(line["page"].is_object(), "no page: {line}");
            pages.push(line["page"].clone());
        }
        panic!("the feed did not end well after {} pages", pages.len());
    }

    /// All answers to a query, page by page.
    pub(crate) fn answers(self) -> Vec<Value> {
        let mut answers = Vec::new();
        while let Some(line) = self.0.line_or_end() {
            if line["end"] == true {
                return answers;
            }
            assert!(line["error"].is_null(), "no answer: {line}");
            answers.push(line["answer"].clone());
        }
        panic!("the query did not end well after {} answers", answers.len());
    }

    /// The error that the user's program caught, and nothing before it.
    pub(crate) fn error(self) -> Value {
        let line = self.0.line();
        assert!(line["error"].is_object(), "no error: {line}");
        line["error"].clone()
    }

    fn ended(&self) {
        loop {
            let line = self.0.line();
            if line["open"].is_null() {
                assert_eq!(line, json!({ "end": true }), "more than was to come");
                return;
            }
        }
    }
}
