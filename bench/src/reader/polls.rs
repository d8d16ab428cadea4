//! Polls of a feed by a client that costs next to nothing: it shares the machine's cores with the server, and
//! one of a library's would be what is measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

const LENGTH: &str = "content-length: ";
/// More than an empty page has.
const ANSWER: usize = 4096;

/// Connections that all ask the same.
#[derive(Debug)]
pub(super) struct Polls {
    connections: Vec<TcpStream>,
    request: Vec<u8>,
    answer: [u8; ANSWER],
}

impl Polls {
    pub(super) fn open(address: SocketAddr, connections: u32, body: &str) -> Self {
        let connect = |_| {
            let socket = TcpStream::connect(address).expect("the server takes connections");
            socket.set_nodelay(true).expect("a live socket");
            socket
        };
        let request = format!(
            "POST /v1/feed HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{LENGTH}{}\r\n\r\n{body}",
            body.len()
        );
        let connections = (0..connections).map(connect).collect();
        Self { connections, request: request.into(), answer: [0; ANSWER] }
    }

    /// Asks once on each connection, and looks whether each page is empty.
    pub(super) fn once(&mut self) {
        for connection in &mut self.connections {
            connection.write_all(&self.request).expect("room for a few bytes");
        }
        for connection in &mut self.connections {
            let mut read = 0;
            let page = loop {
                let length = connection.read(&mut self.answer[read..]).expect("an answer");
                assert!(length > 0, "the connection has ended, or a page is not empty");
                read += length;
                if let Some(page) = page_of(&self.answer[..read]) {
                    break page;
                }
            };
            assert!(page.starts_with(r#"{"events":[],"#), "not an empty page: {page}");
        }
    }
}

/// The page of an answer that is there as a whole.
fn page_of(answer: &[u8]) -> Option<&str> {
    let answer = std::str::from_utf8(answer).expect("an answer is text");
    let (head, page) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200 "), "a poll is refused: {answer}");
    let (_, length) = head.split_once(LENGTH).expect("an answer says how long it is");
    let length = length.split('\r').next().expect("a text has a first part");
    let length: usize = length.parse().expect("a length is a number");
    (page.len() >= length).then_some(page)
}
