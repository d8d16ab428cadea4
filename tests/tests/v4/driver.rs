//! A `faunadb` driver in a process of its own: what its program printed, line by line.
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

const SILENCE: Duration = Duration::from_secs(60);

/// Which driver, over which of its transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Node,
    /// HTTP/1.1.
    NodeFetch,
    Python,
}

pub(crate) const DRIVERS: [Driver; 3] = [Driver::Node, Driver::NodeFetch, Driver::Python];

/// A running program.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    lines: Receiver<Value>,
}

impl Driver {
    /// Starts the program. `config` is what `tests/clients/node/v4.js` explains.
    pub(crate) fn start(self, cluster: &Cluster, secret: &str, config: &Value) -> Program {
        let clients = checkout().join("tests/clients");
        let mut config = config.clone();
        let address = cluster.http();
        config["host"] = json!(address.ip().to_string());
        config["port"] = json!(address.port());
        config["secret"] = json!(secret);
        let mut command = match self {
            Self::Node | Self::NodeFetch => {
                config["client"] = json!(if self == Self::NodeFetch { "fetch" } else { "http2" });
                let mut command = Command::new("node");
                command.arg(clients.join("node/v4.js"));
                command
            }
            Self::Python => {
                let mut command = Command::new(clients.join("python/.venv/bin/python"));
                // It says with each start that it is not made any more.
                command.args(["-W", "ignore::DeprecationWarning"]);
                command.arg(clients.join("python/v4.py"));
                command
            }
        };
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

    /// Follows an expression to its `count`th event.
    pub(crate) fn stream(
        self,
        cluster: &Cluster,
        secret: &str,
        expr: &Value,
        fields: &[&str],
        count: usize,
    ) -> Program {
        let mut config = json!({ "mode": "stream", "expr": expr, "count": count });
        if !fields.is_empty() {
            config["fields"] = json!(fields);
        }
        self.start(cluster, secret, &config).opened()
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

    /// What the next line says of this name.
    #[track_caller]
    pub(crate) fn says(&self, name: &str) -> Value {
        let mut line = self.line().unwrap_or_else(|| panic!("the program ended before {name:?}"));
        assert!(!line[name].is_null(), "no {name:?}: {line}");
        line[name].take()
    }

    /// Waits until the stream is open.
    #[track_caller]
    pub(crate) fn opened(self) -> Self {
        let start = self.says("start");
        assert!(start["txn"].is_i64() && start["txn"] == start["event"], "{start}");
        self
    }

    /// The next events, each with its type and its transaction, and that the program then ended well.
    #[track_caller]
    pub(crate) fn events(self, kind: &str, count: usize) -> Vec<Value> {
        let events = (0..count).map(|_| self.says(kind)).collect();
        self.ended();
        events
    }

    #[track_caller]
    pub(crate) fn ended(&self) {
        assert_eq!(self.line(), Some(json!({ "end": true })), "more than was to come");
    }

    /// The error that the user's program was told, the first thing to come.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        self.says("error")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ended = self.child.kill();
        self.child.wait().expect("it is our child");
    }
}
