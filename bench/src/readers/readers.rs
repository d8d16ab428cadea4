//! All connections, and one thread that reads them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Version};

/// What one read takes.
const READ: usize = 256 * 1024;
/// Nothing that is measured here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many requests are under way while streams are opened.
const AT_ONCE: usize = 50;

/// How streams are asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub address: SocketAddr,
    pub path: String,
    pub accept: Option<&'static str>,
    pub version: Version,
    pub streams: usize,
    pub per_connection: usize,
}

#[derive(Debug)]
pub struct Readers {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    /// Numbers that came, of all streams together.
    pub received: u64,
}

impl Readers {
    /// Returns when every stream was answered.
    pub fn open(asked: &Asked) -> Self {
        let mut readers = Self::none();
        readers.open_more(asked);
        readers
    }

    pub fn none() -> Self {
        Self {
            poll: Poll::new().expect("epoll"),
            events: Events::with_capacity(1024),
            buffer: vec![0; READ],
            connections: Vec::new(),
            received: 0,
        }
    }

    /// As [`Readers::open`], beside those that are there.
    pub fn open_more(&mut self, asked: &Asked) {
        self.open_more_by(asked, AT_ONCE);
    }

    /// The same, with at most so many requests under way.
    pub fn open_more_by(&mut self, asked: &Asked, at_once: usize) {
        let mut left = asked.streams;
        while left > 0 {
            let streams = left.min(asked.per_connection);
            let mut connection = Connection::open(asked.address, asked.version);
            let token = Token(self.connections.len());
            let registry = self.poll.registry();
            registry
                .register(&mut connection.socket, token, Interest::READABLE)
                .expect("a live socket");
            self.connections.push(connection);
            for _ in 0..streams {
                self.connections[token.0].ask(&asked.path, asked.accept);
                self.answered(at_once);
            }
            left -= streams;
        }
        self.answered(1);
    }

    /// Reads until fewer than `most` streams wait for their answer.
    fn answered(&mut self, most: usize) {
        let begun = Instant::now();
        let waiting = |connections: &[Connection]| -> usize {
            // Those before were answered before these were asked.
            let last = connections.len().saturating_sub(AT_ONCE + 1);
            connections[last..].iter().map(|c| c.asked() - c.opened).sum()
        };
        while waiting(&self.connections) >= most {
            self.turn(PATIENCE, |_| {});
            assert!(begun.elapsed() < PATIENCE, "a stream is not answered");
        }
    }

    /// Reads until so many numbers have come since the readers were opened.
    pub fn until(&mut self, received: u64) {
        let begun = Instant::now();
        while self.received < received {
            self.turn(PATIENCE, |_| {});
            assert!(begun.elapsed() < PATIENCE, "{} of {received} events came", self.received);
        }
    }

    /// Waits for something to read, reads it; `found` gets each number.
    pub fn turn(&mut self, timeout: Duration, mut found: impl FnMut(u64)) {
        self.poll.poll(&mut self.events, Some(timeout)).expect("epoll");
        let received = &mut self.received;
        let mut count = |number| {
            *received += 1;
            found(number);
        };
        for event in &self.events {
            while self.connections[event.token().0].read(&mut self.buffer, &mut count) {}
        }
    }
}
