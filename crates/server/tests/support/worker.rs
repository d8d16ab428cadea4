//! The worker's end of the door, and a server on the other.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use event_source_door::frame::{self, Reader};
use event_source_door::message::{
    Batch, Config, Opened, RequestId, StartAt, Tail, ToServer, ToWorker,
};
use event_source_model::event::{Page, Refusal};
use event_source_server::door::{Door, DoorError};
use event_source_server::hub::Hub;
use event_source_server::routes::protocols;
use event_source_server::serve::serve;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// A condition that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Worker {
    pub(crate) stream: UnixStream,
    reader: Reader,
    pub(crate) address: SocketAddr,
    pub(crate) server: JoinHandle<Result<(), DoorError>>,
    /// The last report, which tests that do not ask for it pass over.
    pub(crate) streams: u32,
}

/// The server's process; killed at the end of the test.
pub(crate) struct Process(Child);

impl Process {
    /// Bytes that it has in memory, of its own.
    pub(crate) fn memory(&self) -> usize {
        self.status("RssAnon:")
    }

    /// The most that it ever had in memory, with what it shares.
    pub(crate) fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        let kilobytes = line.trim().strip_suffix(" kB").expect("in kB");
        1024 * kilobytes.parse::<usize>().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Worker {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_with(config, protocols()).await
    }

    pub(crate) async fn start_with(config: Config, protocols: Router<Arc<Hub>>) -> Self {
        let (ours, theirs) = StdStream::pair().expect("a socket pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a live socket");
        let address = listener.local_addr().expect("a bound socket");
        let server = tokio::spawn(async move {
            let (door, config) = tokio::task::spawn_blocking(|| Door::knock(theirs))
                .await
                .expect("knocking does not panic")?;
            serve(door, config, vec![listener], protocols).await
        });
        Self::greet(ours, address, server, config).await
    }

    /// The executable on the other end, whose memory can be looked at.
    pub(crate) async fn start_executable(config: Config) -> (Self, Process) {
        let (ours, theirs) = StdStream::pair().expect("a socket pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" 3>&1 1>&2", env!("CARGO_BIN_EXE_event_source_server")])
            .env("LISTEN_FDS", "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .expect("a shell");
        let server = tokio::spawn(async { Ok(()) });
        (Self::greet(ours, address, server, config).await, Process(child))
    }

    async fn greet(
        ours: StdStream,
        address: SocketAddr,
        server: JoinHandle<Result<(), DoorError>>,
        config: Config,
    ) -> Self {
        ours.set_nonblocking(true).expect("a live socket");
        let stream = UnixStream::from_std(ours).expect("a runtime");
        let mut worker =
            Self { stream, reader: Reader::new(frame::MAX_REQUEST), address, server, streams: 0 };
        assert!(matches!(worker.hears().await, ToWorker::Hello { .. }));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        worker.says(&ToServer::Welcome { version, config }).await;
        worker
    }

    pub(crate) async fn says(&mut self, message: &ToServer) {
        self.say_all(std::slice::from_ref(message)).await;
    }

    /// In one write, so that the server reads them in one go.
    pub(crate) async fn say_all(&mut self, messages: &[ToServer]) {
        let mut bytes = Vec::new();
        for message in messages {
            frame::push(&mut bytes, message).expect("short");
        }
        self.stream.write_all(&bytes).await.expect("the server is there");
    }

    /// The next message that is no report.
    pub(crate) async fn hears(&mut self) -> ToWorker {
        loop {
            match self.hears_any().await {
                ToWorker::Streams(streams) => self.streams = streams,
                ToWorker::Confined { .. } => {}
                message => return message,
            }
        }
    }

    pub(crate) async fn hears_report(&mut self) -> u32 {
        loop {
            if let ToWorker::Streams(streams) = self.hears_any().await {
                return streams;
            }
        }
    }

    /// The next message that is no report, if one comes in that time.
    pub(crate) async fn hears_within(&mut self, time: Duration) -> Option<ToWorker> {
        tokio::time::timeout(time, self.hears()).await.ok()
    }

    async fn hears_any(&mut self) -> ToWorker {
        let mut bytes = [0; 4096];
        loop {
            if let Some(message) = self.reader.next().expect("undamaged") {
                return message;
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await;
            let n = read.expect("the server says something").expect("the server is there");
            assert!(n > 0, "the server closed the door");
            self.reader.feed(&bytes[..n]);
        }
    }

    pub(crate) async fn hears_open(&mut self) -> (RequestId, StartAt) {
        match self.hears().await {
            ToWorker::Open { request, start, .. } => (request, start),
            other => panic!("an Open was expected, not {other:?}"),
        }
    }

    pub(crate) async fn hears_page(&mut self) -> (RequestId, StartAt, u32) {
        match self.hears().await {
            ToWorker::Page { request, start, page, .. } => (request, start, page.size),
            other => panic!("a Page was expected, not {other:?}"),
        }
    }

    pub(crate) async fn hears_read(
        &mut self,
    ) -> (RequestId, event_source_model::position::Position) {
        match self.hears().await {
            ToWorker::Read { request, from, .. } => (request, from),
            other => panic!("a Read was expected, not {other:?}"),
        }
    }

    pub(crate) async fn hears_close(&mut self) {
        let message = self.hears().await;
        assert!(matches!(message, ToWorker::Close { .. }), "not a Close: {message:?}");
    }

    pub(crate) async fn opens(&mut self, request: RequestId, opened: Opened) {
        self.says(&ToServer::Opened { request, opened }).await;
    }

    pub(crate) async fn refuses(&mut self, request: RequestId, refusal: Refusal) {
        self.says(&ToServer::Refused { request, refusal }).await;
    }

    pub(crate) async fn reads(&mut self, request: RequestId, batch: Batch) {
        self.says(&ToServer::Batch { request, batch }).await;
    }

    pub(crate) async fn pages(&mut self, request: RequestId, page: Page) {
        self.says(&ToServer::Page { request, page, goes_on: false }).await;
    }

    pub(crate) async fn tails(&mut self, tail: Tail) {
        self.says(&ToServer::Tail(tail)).await;
    }
}
