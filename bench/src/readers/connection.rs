//! One connection with its streams: what has to be said to keep it open, and the bytes of each body.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::numbers::Numbers;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// The largest window of HTTP/2.
const WINDOW: u32 = (1 << 31) - 1;
/// After so many bytes the connection's window is opened again.
const REOPEN: u32 = 1 << 30;
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200`, in HPACK's table.
const STATUS_200: u8 = 0x88;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    version: Version,
    /// The end of what was read, which is no whole frame.
    rest: Vec<u8>,
    since_reopened: u32,
    streams: Vec<Numbers>,
    /// How many streams were answered.
    pub(super) opened: usize,
    /// Bytes of bodies, what frames them left out where that is known.
    pub(super) bytes: u64,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, version: Version) -> Self {
        let socket = std::net::TcpStream::connect(address).expect("the subject listens");
        socket.set_nodelay(true).expect("a live socket");
        if version == Version::Two {
            let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            let mut settings = vec![0, 4];
            settings.extend(WINDOW.to_be_bytes());
            frame(&mut hello, SETTINGS, 0, 0, &settings);
            frame(&mut hello, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
            (&socket).write_all(&hello).expect("room for a few bytes");
        }
        socket.set_nonblocking(true).expect("a live socket");
        Self {
            socket: TcpStream::from_std(socket),
            version,
            rest: Vec::new(),
            since_reopened: 0,
            streams: Vec::new(),
            opened: 0,
            bytes: 0,
        }
    }

    /// Asks for one more stream. Only HTTP/1.1 is asked to `accept` something.
    pub(super) fn ask(&mut self, path: &str, accept: Option<&str>) {
        let mut request = Vec::new();
        match self.version {
            Version::One => {
                assert!(self.streams.is_empty(), "a connection of HTTP/1.1 has one stream");
                request.extend(b"GET ");
                request.extend(path.as_bytes());
                request.extend(b" HTTP/1.1\r\nhost: localhost\r\n");
                if let Some(kind) = accept {
                    request.extend(format!("accept: {kind}\r\n").as_bytes());
                }
                request.extend(b"\r\n");
            }
            Version::Two => {
                // GET, http; then a path and an authority that are not remembered.
                let mut head = vec![0x82, 0x86];
                for (name, value) in [(0x04, path), (0x01, "localhost")] {
                    head.push(name);
                    match u8::try_from(value.len()) {
                        Ok(short @ ..0x7f) => head.push(short),
                        _ => {
                            let rest = value.len() - 0x7f;
                            assert!(rest < 1 << 14, "a path is not so long");
                            head.extend([0x7f, 0x80 | (rest & 0x7f) as u8, (rest >> 7) as u8]);
                        }
                    }
                    head.extend(value.as_bytes());
                }
                let id = 2 * self.streams.len() as u32 + 1;
                frame(&mut request, HEADERS, END_HEADERS | END_STREAM, id, &head);
            }
        }
        self.streams.push(Numbers::default());
        self.write(&request);
    }

    /// How many streams have been asked for.
    pub(super) fn asked(&self) -> usize {
        self.streams.len()
    }

    /// Reads once; `found` gets each number of each stream. Whether there may be more.
    pub(super) fn read(&mut self, buffer: &mut [u8], found: &mut impl FnMut(u64)) -> bool {
        let n = match self.socket.read(buffer) {
            Ok(0) => panic!("the subject closed a connection"),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("a connection broke: {error}"),
        };
        match self.version {
            Version::One => self.read_one(&buffer[..n], found),
            Version::Two => self.read_two(&buffer[..n], found),
        }
        n == buffer.len()
    }

    fn read_one(&mut self, bytes: &[u8], found: &mut impl FnMut(u64)) {
        if self.opened == 0 {
            assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(bytes));
            self.opened = 1;
        }
        self.bytes += bytes.len() as u64;
        // The sizes of chunks stand between events, never in a number.
        self.streams[0].feed(bytes, found);
    }

    fn read_two(&mut self, bytes: &[u8], found: &mut impl FnMut(u64)) {
        if self.rest.is_empty() {
            let taken = self.frames(bytes, found);
            self.rest.extend(&bytes[taken..]);
        } else {
            let mut all = std::mem::take(&mut self.rest);
            all.extend(bytes);
            let taken = self.frames(&all, found);
            all.drain(..taken);
            self.rest = all;
        }
        if self.since_reopened >= REOPEN {
            let mut update = Vec::new();
            frame(&mut update, WINDOW_UPDATE, 0, 0, &self.since_reopened.to_be_bytes());
            self.since_reopened = 0;
            self.write(&update);
        }
    }

    /// Handles whole frames and says how many bytes they were.
    fn frames(&mut self, bytes: &[u8], found: &mut impl FnMut(u64)) -> usize {
        let mut at = 0;
        while let Some((head, behind)) = bytes[at..].split_at_checked(HEAD) {
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some(payload) = behind.get(..length) else { break };
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            match kind {
                DATA => {
                    assert!(flags & END_STREAM == 0, "a stream ended");
                    self.since_reopened += length as u32;
                    self.bytes += length as u64;
                    self.streams[id / 2].feed(payload, &mut *found);
                }
                HEADERS => {
                    assert!(payload.contains(&STATUS_200), "a stream was refused: {payload:x?}");
                    self.opened += 1;
                }
                SETTINGS | PING if flags & ACK == 0 => {
                    let answer = if kind == PING { payload } else { &[] };
                    let mut ack = Vec::new();
                    frame(&mut ack, kind, ACK, 0, answer);
                    self.write(&ack);
                }
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => panic!("a frame of kind {kind} for stream {id}: {payload:x?}"),
            }
            at += HEAD + length;
        }
        at
    }

    fn write(&mut self, bytes: &[u8]) {
        let written = self.socket.write(bytes).expect("room for a few bytes");
        assert_eq!(written, bytes.len(), "room for a few bytes");
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}
