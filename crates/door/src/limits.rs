//! The limits of a server's clients, as settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of connections and requests. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// A client must have sent the first whole head of a request by then.
    pub head_timeout: u32,
    /// A connection on which nothing is asked is closed after it.
    pub idle_timeout: u32,
    /// A reader that takes nothing for so long loses what it does not take: the stream, or the connection.
    pub send_timeout: u32,
    /// Bytes of a request's head.
    pub max_head_size: u32,
    /// Headers of a request.
    pub max_headers: u32,
    /// Requests at a time on a connection of HTTP/2.
    pub max_streams_per_connection: u32,
    /// Connections.
    pub max_clients_per_address: PerAddress,
    /// Requests a second.
    pub max_requests_per_second: PerAddress,
    /// After so much silence TCP asks whether the peer is still there; 0 leaves it to the system.
    pub tcp_keepalive: u32,
    /// A connection ends when its peer has acknowledged nothing for so long; 0 leaves it to the system.
    pub tcp_user_timeout: u32,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        head_timeout: 10_000,
        idle_timeout: 120_000,
        send_timeout: 120_000,
        max_head_size: 32 * 1024,
        max_headers: 100,
        max_streams_per_connection: 1000,
        max_clients_per_address: PerAddress::Unlimited,
        max_requests_per_second: PerAddress::Unlimited,
        tcp_keepalive: 60_000,
        tcp_user_timeout: 120_000,
    };

    pub fn head_time(&self) -> Duration {
        Duration::from_millis(self.head_timeout.into())
    }

    pub fn idle_time(&self) -> Duration {
        Duration::from_millis(self.idle_timeout.into())
    }

    pub fn send_time(&self) -> Duration {
        Duration::from_millis(self.send_timeout.into())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A limit that holds for each address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PerAddress {
    Unlimited,
    /// Addresses of the machine itself are not limited: a reverse proxy has those of all its clients.
    Remote(u32),
    Everybody(u32),
}

impl PerAddress {
    /// The meaning of a setting: -1 is the default, 0 no limit.
    pub fn of(setting: i32, default: u32) -> Self {
        match u32::try_from(setting) {
            Err(_) => Self::Remote(default),
            Ok(0) => Self::Unlimited,
            Ok(limit) => Self::Everybody(limit),
        }
    }

    /// The limit of an address.
    pub fn limit(self, is_loopback: bool) -> Option<u32> {
        match self {
            Self::Unlimited => None,
            Self::Remote(_) if is_loopback => None,
            Self::Remote(limit) | Self::Everybody(limit) => Some(limit),
        }
    }
}
