//! Whether a worker's port answers, asked with nothing but a socket: it has to work when little does.

use std::io::{Error, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The status of `GET /health`.
///
/// # Errors
/// When nobody answers within a second.
pub fn health(address: SocketAddr) -> std::io::Result<u16> {
    let second = Duration::from_secs(1);
    let mut socket = TcpStream::connect_timeout(&address, second)?;
    socket.set_read_timeout(Some(second))?;
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    socket.read_exact(&mut head)?;
    std::str::from_utf8(&head)
        .ok()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| Error::other("not an HTTP answer"))
}
