//! A client in a process of its own: what its program printed, line by line, and what it is told to do.
//!
//! It runs on the test's thread, with one thread that reads. Dropping it ends the process. Every client program
//! of the tests and of the benchmarks is started here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::private::checkout;

/// A client may back off for seconds before it looks again, and a browser takes its time on a busy machine.
const SILENCE: Duration = Duration::from_secs(60);
/// A program that does not end with its input by then is killed.
const GOODBYE: Duration = Duration::from_secs(20);

/// A running program. Each line that it prints is a JSON value.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// Open for as long as it is to run, for a program that ends with its input.
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    /// Lines that [`Program::find`] passed over.
    kept: Vec<Value>,
}

/// How a program is told that it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Its input ends: a browser has processes and files of its own to end and remove.
    WithItsInput,
    /// It has no input and is killed.
    Killed,
}

impl Program {
    /// Starts a program of `tests/clients/node` with one argument; it ends with its input.
    #[must_use]
    pub fn node(name: &str, config: &Value) -> Self {
        Self::node_at(&checkout().join("tests/clients/node").join(name), config)
    }

    /// Starts a program of Node's with one argument; it ends with its input.
    #[must_use]
    pub fn node_at(path: &Path, config: &Value) -> Self {
        let mut command = Command::new("node");
        command.arg(path);
        Self::start(command, config, Ends::WithItsInput)
    }

    /// Starts a driver's program of `tests/clients`, by its name the interpreter: it is killed in the end.
    ///
    /// # Panics
    /// When it is neither Node's nor Python's.
    #[must_use]
    pub fn driver(name: &str, config: &Value) -> Self {
        let clients = checkout().join("tests/clients");
        let mut command = match name.rsplit_once('.') {
            Some((_, "js")) => Command::new("node"),
            Some((_, "py")) => {
                let mut python = Command::new(clients.join("python/.venv/bin/python"));
                // A driver that is not made any more says so with each start.
                python.args(["-W", "ignore::DeprecationWarning"]);
                python
            }
            _ => panic!("no interpreter for {name}"),
        };
        command.arg(clients.join(name));
        Self::start(command, config, Ends::Killed)
    }

    /// # Panics
    /// When the program cannot be started.
    fn start(mut command: Command, config: &Value, ends: Ends) -> Self {
        let mut child = command
            .arg(config.to_string())
            // A secret of the surroundings would stand in for one that a test leaves out.
            .env_remove("FAUNA_SECRET")
            .env_remove("FAUNA_ENDPOINT")
            .stdin(if ends == Ends::WithItsInput { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}; did `make setup` run?"));
        let stdout = child.stdout.take().expect("it is piped");
        let (send, lines) = channel();
        std::thread::spawn(move || read(stdout, &send));
        Self { stdin: child.stdin.take(), child, lines, kept: Vec::new() }
    }

    /// The next line; `None` when the program has ended.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    #[must_use]
    pub fn line_or_end(&self) -> Option<Value> {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the program said nothing for {SILENCE:?}"),
        }
    }

    /// The next line.
    ///
    /// # Panics
    /// When none comes in time, or the program has ended.
    #[track_caller]
    #[must_use]
    pub fn line(&self) -> Value {
        self.line_or_end().expect("the program runs")
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
        let mut line =
            self.line_or_end().unwrap_or_else(|| panic!("the program ended before {name:?}"));
        assert!(!line[name].is_null(), "no {name:?}: {line}");
        line[name].take()
    }

    /// The first line like that, of those that were passed over and those to come; the ones before it are kept.
    ///
    /// # Panics
    /// When none comes in time, or the program ends before.
    #[track_caller]
    pub fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at);
        }
        let until = Instant::now() + SILENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
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

    /// Writes a line to its input.
    ///
    /// # Panics
    /// When it has none, or reads no more.
    pub fn tell(&mut self, command: &Value) {
        let stdin = self.stdin.as_mut().expect("it was started with an input");
        writeln!(stdin, "{command}").expect("the program reads");
    }
}

/// Sends each line of its output; ends with the output, or when nobody takes lines any more.
fn read(stdout: ChildStdout, send: &Sender<Value>) {
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("the program speaks UTF-8");
        let line = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        if send.send(line).is_err() {
            break;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.stdin.take().is_some() {
            let until = Instant::now() + GOODBYE;
            let left = || until.saturating_duration_since(Instant::now());
            while self.lines.recv_timeout(left()).is_ok() {}
        }
        // What has ended needs no kill.
        let _ended = self.child.kill();
        self.child.wait().expect("it is our child");
    }
}
