//! A client in a process of its own: what its program printed, line by line.
//!
//! It runs on the test's thread, with one thread that reads. Dropping it ends the process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::private::checkout;

/// A client may back off for seconds before it looks again.
const SILENCE: Duration = Duration::from_secs(60);
/// A program that does not end by itself is ended.
const GOODBYE: Duration = Duration::from_secs(5);

/// A running program.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Receiver<Value>,
}

impl Program {
    /// Starts a program of `tests/clients/node` with one argument.
    #[must_use]
    pub fn node(name: &str, config: &Value) -> Self {
        Self::node_at(&checkout().join("tests/clients/node").join(name), config)
    }

    /// Starts a program of Node's with one argument.
    ///
    /// # Panics
    /// When there is no Node.
    #[must_use]
    pub fn node_at(path: &Path, config: &Value) -> Self {
        let mut command = Command::new("node");
        command.arg(path).arg(config.to_string());
        let mut child = command
            .stdin(Stdio::piped())
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
        Self { child, lines }
    }

    /// The next line.
    ///
    /// # Panics
    /// When none comes in time, or the program has ended.
    #[track_caller]
    #[must_use]
    pub fn line(&self) -> Value {
        self.line_within(SILENCE).expect("the program says something")
    }

    /// The next line; `None` when there is none for so long.
    ///
    /// # Panics
    /// When the program has ended.
    #[track_caller]
    #[must_use]
    pub fn line_within(&self, time: Duration) -> Option<Value> {
        match self.lines.recv_timeout(time) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the program has ended"),
        }
    }

    /// What the next line has under this name.
    ///
    /// # Panics
    /// When it has something else.
    #[track_caller]
    #[must_use]
    pub fn said(&self, name: &str) -> Value {
        let mut line = self.line();
        assert!(!line[name].is_null(), "no {name}: {line}");
        line[name].take()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends with its input: a browser has processes and files of its own to end and remove.
        drop(self.child.stdin.take());
        let until = Instant::now() + GOODBYE;
        while self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
        // What has ended needs no kill.
        let _ended = self.child.kill();
        self.child.wait().expect("it is our child");
    }
}
