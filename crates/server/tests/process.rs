//! The executable itself: descriptors, handshake, exit codes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use event_source_door::frame::{self, Reader};
use event_source_door::hosts::Hosts;
use event_source_door::limits::Limits;
use event_source_door::message::{Config, JwtKey, PROTOCOL, ToServer, ToWorker};
use event_source_door::protocols::Protocols;

/// Starts the server as the worker does: the door as standard input, the listener as number 3.
fn start(listener: TcpListener) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let child = Command::new("sh")
        .args(["-c", "exec \"$0\" 3>&1 1>&2", env!("CARGO_BIN_EXE_event_source_server")])
        .env("LISTEN_FDS", "1")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    (child, ours)
}

fn hears(door: &mut UnixStream) -> ToWorker {
    let mut reader = Reader::new(frame::MAX_REQUEST);
    let mut bytes = [0; 1024];
    loop {
        if let Some(message) = reader.next().expect("undamaged") {
            return message;
        }
        let n = door.read(&mut bytes).expect("the server is there");
        assert!(n > 0, "the server closed the door");
        reader.feed(&bytes[..n]);
    }
}

fn says(door: &mut UnixStream, message: &ToServer) {
    let mut bytes = Vec::new();
    frame::push(&mut bytes, message).expect("short");
    door.write_all(&bytes).expect("the server is there");
}

fn welcome(version: &str) -> ToServer {
    let config = Config {
        status_interval_ms: 1000,
        tail_memory_bytes: 1 << 20,
        server_memory_bytes: 1 << 30,
        worker_threads: 1,
        max_clients: 10,
        max_streams: 10,
        cors_origins: String::new(),
        require_secret: false,
        limits: Limits::default(),
        protocols: Protocols::all(),
        allowed_hosts: Hosts::default(),
        has_anonymous_role: true,
        jwt_key: JwtKey::Unread,
    };
    ToServer::Welcome { version: version.to_owned(), config }
}

fn log(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
    text
}

#[test]
fn it_serves_on_the_inherited_socket_and_ends_with_its_worker() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let (mut child, mut door) = start(listener);
    let ToWorker::Hello { protocol, version } = hears(&mut door) else {
        panic!("it did not say hello")
    };
    assert_eq!((protocol, version.as_str()), (PROTOCOL, env!("CARGO_PKG_VERSION")));
    says(&mut door, &welcome(&version));
    // The machine of the tests has both; what a server does without them is in `tests/tests/sandbox.rs`.
    assert_eq!(hears(&mut door), ToWorker::Confined { landlock: true, seccomp: true });
    says(&mut door, &ToServer::Ping);
    assert_eq!(hears(&mut door), ToWorker::Pong);
    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    let mut line = String::new();
    BufReader::new(&client).read_line(&mut line).expect("it answers");
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    drop(door);
    let status = child.wait().expect("a child");
    assert_eq!(status.code(), Some(1));
    assert_eq!(log(&mut child), "event_source server: the worker closed the door\n");
}

#[test]
fn it_ends_well_when_the_worker_says_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (mut child, mut door) = start(listener);
    hears(&mut door);
    says(&mut door, &welcome(env!("CARGO_PKG_VERSION")));
    says(&mut door, &ToServer::Stop);
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    assert_eq!(log(&mut child), "");
}

#[test]
fn it_refuses_a_worker_of_another_version() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (mut child, mut door) = start(listener);
    hears(&mut door);
    says(&mut door, &welcome("99.0.0"));
    assert_eq!(child.wait().expect("a child").code(), Some(3));
    assert!(log(&mut child).contains("99.0.0"));
}

#[test]
fn started_by_hand_it_says_how_it_is_started() {
    let output = Command::new(env!("CARGO_BIN_EXE_event_source_server"))
        .stdin(Stdio::null())
        .output()
        .expect("the executable");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        text.starts_with("event_source server: is started by the event_source worker"),
        "{text}"
    );
}
