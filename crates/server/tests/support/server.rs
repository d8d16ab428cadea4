//! The executable in a process of its own, whose memory and descriptors can be seen, and a worker that knows two
//! tokens.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_source_door::frame::{self, Reader};
use event_source_door::message::{Config, ToServer, ToWorker};
use event_source_model::event::{Reason, Refusal};

use super::raw::Raw;
use super::worker::PATIENCE;
use super::{empty_tail, now, opened, tail_of};

/// A token that is good.
pub(crate) const GOOD: &str = "est_AgAAAAEAAAAAAAAAAAAAAAAAAAAB";
/// One that the worker thinks about for ever.
pub(crate) const SLOW: &str = "est_AgAAAAEAAAAAAAAAAAAAAAAAAAAC";

pub(crate) struct Server {
    child: Child,
    door: Arc<Mutex<UnixStream>>,
    log: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
    /// Where the tail ends.
    closed: i64,
}

impl Server {
    pub(crate) fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" 3>&1 1>&2", env!("CARGO_BIN_EXE_event_source_server")])
            .env("LISTEN_FDS", "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(listener)))
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let log = Arc::new(Mutex::new(String::new()));
        let (mut lines, kept) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = lines.read(&mut bytes) {
                kept.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        let reading = ours.try_clone().expect("a descriptor more");
        let door = Arc::new(Mutex::new(ours));
        let answering = Arc::clone(&door);
        let closed = now();
        let welcome = ToServer::Welcome { version: env!("CARGO_PKG_VERSION").to_owned(), config };
        let first = [welcome, ToServer::Tail(empty_tail(0, closed))];
        std::thread::spawn(move || serve(reading, &answering, &first));
        let server = Self { child, door, log, address, closed };
        let mut probe = Raw::connect(address);
        assert_eq!(probe.get("/health"), 200);
        let descriptors = server.descriptors();
        drop(probe);
        server.wait("nobody is connected", |server| server.descriptors() < descriptors);
        server
    }

    pub(crate) fn says(&mut self, message: &ToServer) {
        say(&self.door, message);
    }

    /// A row with a text of this length is added.
    pub(crate) fn adds(&mut self, length: usize) {
        let since = self.closed;
        self.closed = now().max(since + 1);
        let tail = tail_of(since, self.closed, self.closed, &"x".repeat(length));
        self.says(&ToServer::Tail(tail));
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// In kilobytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process is there");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
        line.split_ascii_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    pub(crate) fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        folder.expect("the process is there").count()
    }

    pub(crate) fn wait(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + 2 * PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "waited in vain until {what}\n{}", self.log());
            pause(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Between two looks at a condition, and between two pieces of what comes slowly.
pub(crate) fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "no condition is waited for here")]
    std::thread::sleep(time);
}

fn say(door: &Mutex<UnixStream>, message: &ToServer) {
    let mut bytes = Vec::new();
    frame::push(&mut bytes, message).expect("short");
    // When the server is gone the test knows.
    let _ = door.lock().expect("no panic").write_all(&bytes);
}

fn serve(mut reading: UnixStream, door: &Mutex<UnixStream>, first: &[ToServer]) {
    let mut reader = Reader::new(frame::MAX_REQUEST);
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = reading.read(&mut bytes) {
        reader.feed(&bytes[..n]);
        while let Some(message) = reader.next::<ToWorker>().expect("undamaged") {
            match message {
                ToWorker::Hello { .. } => first.iter().for_each(|message| say(door, message)),
                message => answer(message).iter().for_each(|message| say(door, message)),
            }
        }
    }
}

fn answer(message: ToWorker) -> Option<ToServer> {
    let bad = || Refusal::new(Reason::InvalidToken, "invalid event source");
    match message {
        ToWorker::Open { access, .. } | ToWorker::Page { access, .. } if access.token == SLOW => {
            None
        }
        ToWorker::Open { request, access, .. } if access.token == GOOD => {
            let opened = opened(now(), 0);
            Some(ToServer::Opened { request, opened })
        }
        ToWorker::Open { request, .. }
        | ToWorker::Page { request, .. }
        | ToWorker::Query { request, .. } => Some(ToServer::Refused { request, refusal: bad() }),
        _ => None,
    }
}
