//! The server executable alone: its worker is played, and says what a real one would.
//!
//! So a measurement is of the server, and of nothing that PostgreSQL does. Played in the harness' process.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use event_source_door::frame::{self, Reader};
use event_source_door::hosts::Hosts;
use event_source_door::limits::Limits;
use event_source_door::message::{Changes, Config, JwtKey, Opened, Tail, ToServer, ToWorker};
use event_source_door::protocols::Protocols;
use event_source_model::event::{EventType, View};
use event_source_model::image::{Column, Image, Key, Shape};
use event_source_model::net::NetChange;
use event_source_model::position::Position;
use event_source_model::source::Start;
use event_source_model::value::Value;
use event_source_tests::Pid;

use crate::fanout::{Subject, pid_of};

const SOURCE: u64 = 5;
const COLLECTION: u64 = 11;
/// Where its log begins.
const BEGIN: i64 = 1_700_000_000_000_000;
/// What a cluster has unless told otherwise, but for the limits.
pub const THREADS: u32 = 2;

/// A server whose worker is played. Killed when dropped.
#[derive(Debug)]
pub struct Played {
    child: Child,
    door: UnixStream,
    /// Answers what the server asks; ends with the server.
    _answering: JoinHandle<()>,
    address: SocketAddr,
    /// How many events there were; who opens a stream gets those behind them.
    sent: Arc<AtomicU64>,
}

impl Played {
    pub fn start(executable: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (door, theirs) = UnixStream::pair().expect("a socket pair");
        // As the worker does: the door as standard input, the listener as number 3.
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" 3>&1 1>&2"])
            .arg(executable)
            .env("LISTEN_FDS", "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .expect("a shell");
        let answering = door.try_clone().expect("a live socket");
        let sent = Arc::new(AtomicU64::new(0));
        let end = Arc::clone(&sent);
        let answering = std::thread::spawn(move || answer(answering, &end));
        Self { child, door, _answering: answering, address, sent }
    }
}

impl Subject for Played {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pids(&self) -> Vec<Pid> {
        vec![pid_of(&self.child)]
    }

    fn path(&self) -> String {
        "/v1/stream?token=est_t".to_owned()
    }

    /// So many transactions with a change each, in one write; a tail of each, or of all together.
    fn publish(&mut self, events: u64, per_tail: u64) {
        let mut bytes = Vec::new();
        let mut sent = self.sent.load(Ordering::Acquire);
        let end = sent + events;
        while sent < end {
            let until = end.min(sent + per_tail);
            let (since, closed) = (BEGIN + sent as i64, BEGIN + until as i64);
            let mut changes = Changes::default();
            (sent..until).for_each(|number| push(&mut changes, number));
            let tail = Tail { changes, ..empty(since, closed) };
            frame::push(&mut bytes, &ToServer::Tail(tail)).expect("short");
            sent = until;
        }
        self.door.write_all(&bytes).expect("the server is there");
        self.sent.store(sent, Ordering::Release);
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker's part until the server is gone.
fn answer(mut door: UnixStream, sent: &AtomicU64) {
    let mut reader = Reader::new(frame::MAX_REQUEST);
    let mut bytes = [0; 64 * 1024];
    loop {
        let mut answers = Vec::new();
        while let Some(message) = reader.next().expect("undamaged") {
            let closed = BEGIN + sent.load(Ordering::Acquire) as i64;
            for answer in answers_to(message, closed) {
                frame::push(&mut answers, &answer).expect("short");
            }
        }
        if door.write_all(&answers).is_err() {
            return;
        }
        match door.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(n) => reader.feed(&bytes[..n]),
        }
    }
}

fn answers_to(message: ToWorker, closed: i64) -> Vec<ToServer> {
    match message {
        ToWorker::Hello { version, .. } => vec![
            ToServer::Welcome { version, config: config() },
            // So that streams are live at once.
            ToServer::Tail(empty(BEGIN - 100, BEGIN)),
        ],
        ToWorker::Open { request, .. } => {
            let opened = Opened {
                source: SOURCE,
                grant: request,
                role: 10,
                view: View {
                    collection: "Product".to_owned(),
                    fields: None,
                    projection: None,
                    history: 7,
                },
                position: Position::after(closed),
                start: Start { closed, seen: Vec::new() },
                matched_since: BEGIN - 100,
                expires: None,
                collection: COLLECTION,
                reads: false,
            };
            vec![ToServer::Opened { request, opened }]
        }
        // This worker has no log. A stream that fell so far behind gets nothing more, which its reader notices
        // unless it has stopped reading.
        ToWorker::Read { .. }
        | ToWorker::Close { .. }
        | ToWorker::Streams(_)
        | ToWorker::Confined { .. }
        | ToWorker::Pong => Vec::new(),
        message => panic!("nothing of this is measured here: {message:?}"),
    }
}

fn config() -> Config {
    Config {
        status_interval_ms: 3_600_000,
        tail_memory_bytes: 8 << 20,
        server_memory_bytes: 1 << 30,
        worker_threads: THREADS,
        max_clients: 100_000,
        max_streams: 100_000,
        cors_origins: String::new(),
        require_secret: false,
        limits: Limits::default(),
        protocols: Protocols::default(),
        allowed_hosts: Hosts::default(),
        has_anonymous_role: false,
        jwt_key: JwtKey::None,
    }
}

fn empty(since: i64, closed: i64) -> Tail {
    let end = Position::after(closed);
    Tail { since, end, closed, changes: Changes::default(), looked_at: Vec::new() }
}

/// Adds the change with this number, in the transaction behind it.
fn push(changes: &mut Changes, number: u64) {
    let column = |attnum, name: &str| Column { attnum, name: name.to_owned() };
    let shape = Shape { columns: vec![column(1, "id"), column(2, "name")], key: vec![0] };
    let values = vec![Value::BigInt(7), Value::Text(text(number))];
    let change = NetChange {
        collection: COLLECTION,
        key: Some(Key(vec![Value::BigInt(7)])),
        before: None,
        after: Some(Image { shape: Arc::new(shape), values }),
        rewrite: false,
    };
    let position = Position::at(BEGIN + number as i64 + 1, 0);
    changes.push(position, &change, [(SOURCE, EventType::Add)].into());
}

/// As long as a product's description.
pub(super) fn text(number: u64) -> String {
    format!("#{number:08} {}", "as long as the text of a row often is, ".repeat(7))
}
