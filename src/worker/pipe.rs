//! The worker's end of the door: whole messages over a non-blocking socket.
//!
//! What the server does not read waits here, up to [`FULL`]; then the worker stops producing and
//! the log is the queue.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use event_source_door::frame::{self, Reader};
use event_source_door::message::{ToServer, ToWorker};

/// More than this waiting: nothing new is produced until the server has read.
const FULL: usize = 8 * 1024 * 1024;

/// The worker's end.
#[derive(Debug)]
pub struct Pipe {
    socket: UnixStream,
    reader: Reader,
    out: Vec<u8>,
    written: usize,
    /// What one read takes.
    buffer: Box<[u8]>,
    signs: u64,
    /// The socket had no room the last time.
    is_stuck: bool,
}

impl Pipe {
    pub fn new(socket: UnixStream) -> Self {
        let buffer = vec![0; 64 * 1024].into();
        Self {
            socket,
            reader: Reader::new(frame::MAX_REQUEST),
            out: Vec::new(),
            written: 0,
            buffer,
            signs: 0,
            is_stuck: false,
        }
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Puts a message into what waits to be written.
    pub fn send(&mut self, message: &ToServer) -> io::Result<()> {
        frame::push(&mut self.out, message).map_err(io::Error::other)
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

    /// The messages that have come. An error, the end of the pipe among them, ends the server.
    pub fn receive<T: From<ToWorker>>(&mut self, into: &mut impl Extend<T>) -> io::Result<()> {
        loop {
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.signs += 1;
                    self.reader.feed(&self.buffer[..n]);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            while let Some(message) = self.reader.next::<ToWorker>().map_err(io::Error::other)? {
                into.extend([T::from(message)]);
            }
        }
        Ok(())
    }
}
