//! The worker's end of the door: whole messages over a non-blocking socket.
//!
//! What the server does not read waits here, up to [`FULL`]; then the worker stops producing and
//! the log is the queue. What the server asks is read while there is room for it ([`Requests`]); a message that it
//! began must be whole within [`WHOLE`]. What is too large for the server is refused in its place.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use event_source_door::frame::{self, FrameError, Reader};
use event_source_door::message::{Tail, ToServer, ToWorker};
use event_source_model::event::{Reason, Refusal};

use super::requests::Requests;

/// More than this waiting: nothing new is produced until the server has read.
const FULL: usize = 8 * 1024 * 1024;
/// A server that takes longer to send one message is given up.
const WHOLE: Duration = Duration::from_secs(10);

/// The worker's end.
#[derive(Debug)]
pub struct Pipe {
    socket: UnixStream,
    reader: Reader,
    out: Vec<u8>,
    written: usize,
    /// What one read takes.
    buffer: Box<[u8]>,
    /// The longest message that the server takes.
    longest: usize,
    /// Which message has begun to come, and since when it is waited for.
    begun: Option<(u64, Instant)>,
    signs: u64,
    /// The socket had no room the last time.
    is_stuck: bool,
}

impl Pipe {
    /// To a server that may hold so many bytes in memory.
    pub fn new(socket: UnixStream, server_memory: u64) -> Self {
        let buffer = vec![0; 64 * 1024].into();
        Self {
            socket,
            reader: Reader::new(frame::MAX_REQUEST),
            out: Vec::new(),
            written: 0,
            buffer,
            longest: frame::longest(server_memory),
            begun: None,
            signs: 0,
            is_stuck: false,
        }
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Puts a message into what waits to be written; in the place of one that is too large, why it is not sent.
    pub fn send(&mut self, message: &ToServer) -> io::Result<()> {
        match frame::push_within(&mut self.out, message, self.longest) {
            Err(FrameError::TooLong(_)) => {
                for message in instead_of(message, self.longest) {
                    frame::push_within(&mut self.out, &message, self.longest)
                        .map_err(io::Error::other)?;
                }
            }
            sent => sent.map_err(io::Error::other)?,
        }
        // From here on the server takes what it says.
        if let ToServer::Welcome { config, .. } | ToServer::Config(config) = message {
            self.longest = frame::longest(config.server_memory_bytes);
        }
        Ok(())
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written += n;
                    // Only the server makes room.
                    self.signs += u64::from(self.is_stuck);
                    self.is_stuck = false;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.is_stuck = true;
                    self.forget_written();
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        // One huge row must not occupy its memory for the life of the worker.
        self.out.shrink_to(FULL);
        self.written = 0;
        Ok(())
    }

    /// A server that reads all the time and is never quite done would otherwise let what it has
    /// long read pile up here. Moves each byte about once.
    fn forget_written(&mut self) {
        if self.written >= self.out.len() - self.written {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    /// Grows whenever the server has shown that it is alive: it said something, or read what stood in the way of more.
    pub fn signs(&self) -> u64 {
        self.signs
    }

    /// Whether something came that was not read yet.
    pub fn has_unread(&self) -> bool {
        let mut byte = 0u8;
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: an open socket, and room for one byte.
        let n = unsafe { libc::recv(self.fd(), (&raw mut byte).cast(), 1, flags) };
        n > 0
    }

    /// Whether something waits to be written.
    pub fn wants_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether nothing new should be produced.
    pub fn is_full(&self) -> bool {
        self.out.len() - self.written > FULL
    }

    /// Takes the messages that have come, as many as there is room for. An error, the end of the pipe among them, ends
    /// the server.
    pub fn receive(&mut self, requests: &mut Requests) -> io::Result<()> {
        loop {
            while !requests.is_full()
                && let Some(message) = self.reader.next::<ToWorker>().map_err(io::Error::other)?
            {
                requests.extend([message.into()]);
            }
            if requests.is_full() {
                // It is not the server that is slow.
                self.begun = None;
                return Ok(());
            }
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.signs += 1;
                    self.reader.feed(&self.buffer[..n]);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return self.check_whole(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Nothing more has come for now.
    fn check_whole(&mut self) -> io::Result<()> {
        let (message, has_begun) = self.reader.place();
        let since = self.begun.filter(|(begun, _)| *begun == message).map(|(_, since)| since);
        self.begun = has_begun.then(|| (message, since.unwrap_or_else(Instant::now)));
        if self.begun.is_some_and(|(_, since)| since.elapsed() > WHOLE) {
            let why = "it began a message and did not end it";
            return Err(io::Error::new(ErrorKind::TimedOut, why));
        }
        Ok(())
    }
}

/// What is said in the place of a message that is too large for the server.
fn instead_of(message: &ToServer, longest: usize) -> Vec<ToServer> {
    let refusal = Refusal::new(Reason::LimitExceeded, "a row is too large to be sent")
        .hint("event_source.server_memory is at least three times the largest row");
    match message {
        ToServer::Tail(tail) => without_large(tail, longest, &refusal),
        ToServer::Batch { request, .. }
        | ToServer::Page { request, .. }
        | ToServer::Answered { request, .. }
        | ToServer::Failed { request, .. }
        | ToServer::Opened { request, .. } => {
            vec![ToServer::Refused { request: *request, refusal }]
        }
        // They have no rows.
        _ => Vec::new(),
    }
}

/// A tail without what is too large, behind the end of the sources that would see that.
fn without_large(tail: &Tail, longest: usize, refusal: &Refusal) -> Vec<ToServer> {
    let mut rest = tail.clone();
    let (mut ended, mut left) = (Vec::new(), longest / 2);
    rest.changes.list.retain(|change| {
        let fits = left.checked_sub(change.payload.len());
        match fits {
            Some(less) => left = less,
            None => ended.extend(change.seen_by.iter().map(|(source, _)| *source)),
        }
        fits.is_some()
    });
    ended.sort_unstable();
    ended.dedup();
    let ended =
        ended.into_iter().map(|source| ToServer::Ended { source, refusal: refusal.clone() });
    ended.chain([ToServer::Tail(rest)]).collect()
}
