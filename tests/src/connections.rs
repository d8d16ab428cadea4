//! Established TCP connections of this machine, by the kernel's own list: `/proc/net/tcp`.
//!
//! It runs on the test's thread and only looks.

use std::fs;

/// One that somebody has to a port of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whether bytes have come over it that nobody has read yet.
    pub is_unread: bool,
}

/// The connections to a port of this machine.
///
/// # Panics
/// When the kernel's list cannot be read.
#[must_use]
pub fn to(port: u16) -> Vec<Connection> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let port = format!(":{port:04X}");
    let connection = |line: &str| {
        // Number, local and remote address, state, bytes to be sent and to be read.
        let mut fields = line.split_whitespace().skip(1);
        fields.next().filter(|local| local.ends_with(&port))?;
        fields.nth(1).filter(|state| *state == "01")?;
        Some(Connection { is_unread: !fields.next()?.ends_with(":00000000") })
    };
    table.lines().filter_map(connection).collect()
}
