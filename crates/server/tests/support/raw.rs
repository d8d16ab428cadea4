//! A client that says what it wants: bytes, and frames of HTTP/2, one by one.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::worker::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub(crate) struct Raw(pub(crate) TcpStream);

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("it is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(Duration::from_secs(3))).expect("not zero");
        Self(stream)
    }

    /// A connection of HTTP/2 with these settings.
    pub(crate) fn two(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::connect(address);
        raw.say(PREFACE).expect("it reads");
        let settings = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        raw.frame(SETTINGS, 0, 0, &settings.collect::<Vec<u8>>()).expect("it reads");
        raw
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(crate) fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        self.say(&frame(kind, flags, stream, payload))
    }

    /// A request without a body.
    pub(crate) fn ask(&mut self, stream: u32, path: &str) -> io::Result<()> {
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", path))
    }

    /// The next frame; `None` when the server has ended the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        ended(self.0.read_exact(&mut head))?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        ended(self.0.read_exact(&mut payload))?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// As a good client: answers pings and settings.
    pub(crate) fn next_answering(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            match frame.kind {
                PING | SETTINGS if frame.flags & ACK != 0 => {}
                PING => drop(self.frame(PING, ACK, 0, &frame.payload)),
                SETTINGS => drop(self.frame(SETTINGS, ACK, 0, &[])),
                _ => return Some(frame),
            }
        }
    }

    /// Whether the server ends the connection, whatever it says before.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !is_over_time(&error),
            }
        }
    }

    /// What it answers to a request of HTTP/1.1, as far as the first read.
    pub(crate) fn hear(&mut self) -> String {
        let mut bytes = [0; 4096];
        let n = self.0.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    }

    /// The status of the answer to a GET.
    pub(crate) fn get(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        if self.say(request.as_bytes()).is_err() {
            return 0;
        }
        status(&self.hear())
    }

    pub(crate) fn half_close(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// The status of an answer of HTTP/1.1; 0 is none.
pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The headers of a request, in HPACK without its tables.
pub(crate) fn head(method: &str, path: &str) -> Vec<u8> {
    // :scheme http
    let mut bytes = vec![0x86];
    bytes.push(match method {
        "GET" => 0x82,
        "POST" => 0x83,
        other => panic!("no {other}"),
    });
    bytes.push(0x04);
    text(&mut bytes, path);
    bytes.push(0x01);
    text(&mut bytes, "localhost");
    bytes
}

/// One header more.
pub(crate) fn header(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.push(0);
    text(bytes, name);
    text(bytes, value);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "one byte holds the length");
    bytes.push(u8::try_from(text.len()).expect("short"));
    bytes.extend(text.as_bytes());
}

fn ended(read: io::Result<()>) -> Option<()> {
    match read {
        Ok(()) => Some(()),
        Err(error) => {
            assert!(!is_over_time(&error), "nothing more came, and no end either");
            None
        }
    }
}

fn is_over_time(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
