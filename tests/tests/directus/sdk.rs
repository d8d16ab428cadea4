//! Directus' SDK in a process of its own: what its program printed, line by line, and what it is told to do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use event_source_tests::Cluster;
use event_source_tests::private::checkout;
use serde_json::{Value, json};

const SILENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    Node26,
    Node18,
    Chromium,
}

impl Sdk {
    pub(crate) const ALL: [Self; 3] = [Self::Node26, Self::Node18, Self::Chromium];

    /// Starts the program and lets it connect. `config` is what `tests/clients/node/directus.mjs` explains.
    pub(crate) fn start(self, cluster: &Cluster, mut config: Value) -> Program {
        config["url"] = json!(format!("http://{}", cluster.http()));
        config["sdk"] = json!(match self {
            Self::Node26 => "26",
            Self::Node18 => "18",
            Self::Chromium => "chromium",
        });
        let mut command = Command::new("node");
        command.arg(checkout().join("tests/clients/node/directus.mjs")).arg(config.to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}; did `make setup` run?"));
        let stdout = child.stdout.take().expect("it is piped");
        let stdin = child.stdin.take();
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
        Program { child, stdin, lines, kept: Vec::new() }
    }
}

/// A running program. Dropping it lets it end.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    /// Lines that were passed over.
    kept: Vec<Value>,
}

impl Program {
    /// Waits until it is connected.
    pub(crate) fn connected(mut self) -> Self {
        self.find("connected", |line| line["connected"] == true);
        self.find("ready", |line| line["ready"] == true);
        self
    }

    /// Whether it could connect.
    pub(crate) fn could_connect(mut self) -> bool {
        let tried = |line: &Value| line["connected"] == true || line["refused"].is_string();
        self.find("an outcome", tried)["connected"] == true
    }

    /// Why it could not connect.
    pub(crate) fn refused(mut self) -> String {
        let line = self.find("a refusal", |line| line["refused"].is_string());
        line["refused"].as_str().expect("a text").to_owned()
    }

    pub(crate) fn tell(&mut self, command: &Value) {
        let stdin = self.stdin.as_mut().expect("it is open until the end");
        writeln!(stdin, "{command}").expect("the program reads");
    }

    pub(crate) fn subscribe(&mut self, name: &str, collection: &str, options: Value) {
        let subscribe = json!({ "name": name, "collection": collection, "options": options });
        self.tell(&json!({ "subscribe": subscribe }));
    }

    /// The next message of a subscription's loop.
    pub(crate) fn message(&mut self, name: &str) -> Value {
        let line = self.find("a message", |line| line["of"] == name);
        assert!(line["message"].is_object(), "no message of {name}: {line}");
        line["message"].clone()
    }

    /// The `init` of a subscription: its items.
    pub(crate) fn init(&mut self, name: &str) -> Value {
        let message = self.message(name);
        assert_eq!((&message["type"], &message["event"]), (&json!("subscription"), &json!("init")));
        message["data"].clone()
    }

    /// The items of the next message, which is of this event.
    pub(crate) fn event(&mut self, name: &str, event: &str) -> Value {
        let message = self.message(name);
        assert_eq!(message["event"], event, "{name}: {message}");
        message["data"].clone()
    }

    /// That the loop has ended by itself.
    pub(crate) fn ended(&mut self, name: &str) {
        let line = self.find("the end", |line| line["of"] == name);
        assert_eq!(line["end"], true, "{name}: {line}");
    }

    /// What the loop threw.
    pub(crate) fn thrown(&mut self, name: &str) -> Value {
        let line = self.find("an exception", |line| line["of"] == name);
        assert!(!line["thrown"].is_null(), "{name}: {line}");
        line["thrown"].clone()
    }

    /// The next line like that; those before it are kept for others.
    pub(crate) fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at);
        }
        let until = Instant::now() + SILENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => self.kept.push(line),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the program ended before {what}: {:?}", self.kept)
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{what} did not come within {SILENCE:?}: {:?}", self.kept)
                }
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.child.wait().expect("it is our child");
    }
}
