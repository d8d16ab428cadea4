//! An official driver in a process of its own: what its program printed, line by line.
//!
//! It runs on the test's thread, with one thread that reads. Dropping it ends the process.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use event_source_tests::Cluster;
use event_source_tests::private::checkout;
use serde_json::{Value, json};

/// A driver may back off for seconds before it looks again.
const SILENCE: Duration = Duration::from_secs(60);

/// Which driver, over which of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    NodeHttp2,
    NodeFetch,
    Python,
}

pub(crate) const DRIVERS: [Driver; 3] = [Driver::NodeHttp2, Driver::NodeFetch, Driver::Python];

/// A running program.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    lines: Receiver<Value>,
}

impl Driver {
    /// Starts the program. `config` is what `tests/clients/node/follow.js` explains.
    pub(crate) fn start(self, cluster: &Cluster, config: &Value) -> Program {
        let clients = checkout().join("tests/clients");
        let mut config = config.clone();
        config["endpoint"] = json!(format!("http://{}", cluster.http()));
        let mut command = match self {
            Self::NodeHttp2 | Self::NodeFetch => {
                let client = if self == Self::NodeFetch { "fetch" } else { "http2" };
                config["client"] = json!(client);
                let mut command = Command::new("node");
                command.arg(clients.join("node/follow.js"));
                command
            }
            Self::Python => {
                let mut command = Command::new(clients.join("python/.venv/bin/python"));
                command.arg(clients.join("python/follow.py"));
                command
            }
        };
        // A secret of the surroundings would stand in for one that a test leaves out.
        command.env_remove("FAUNA_SECRET").env_remove("FAUNA_ENDPOINT");
        let mut child = command
            .arg(config.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}; did `make setup` run?"));
        let stdout = child.stdout.take().expect("it is piped");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.expect("the program speaks UTF-8");
                let line = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Program { child, lines }
    }

    /// What a value should be decoded to: Node's classes or Python's.
    pub(crate) fn decodes(self, node: Value, python: Value) -> Value {
        if self == Self::Python { python } else { node }
    }
}

impl Program {
    /// The next line; `None` when the program is at its end.
    pub(crate) fn line(&self) -> Option<Value> {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the driver said nothing for {SILENCE:?}"),
        }
    }

    /// Waits until the stream is open: its first status.
    pub(crate) fn opened(self) -> Self {
        let line = self.line().expect("a line");
        assert!(line["open"].is_string(), "not open: {line}");
        self
    }

    /// The next event, statuses left out.
    pub(crate) fn event(&self) -> Value {
        loop {
            let line = self.line().expect("the program ended before its events");
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
        while let Some(line) = self.line() {
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
        while let Some(line) = self.line() {
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
        let line = self.line().expect("a line");
        assert!(line["error"].is_object(), "no error: {line}");
        line["error"].clone()
    }

    fn ended(&self) {
        loop {
            let line = self.line().expect("the program ended without saying so");
            if line["open"].is_null() {
                assert_eq!(line, json!({ "end": true }), "more than was to come");
                return;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ended = self.child.kill();
        self.child.wait().expect("it is our child");
    }
}
