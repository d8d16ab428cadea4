//! Lines for PostgreSQL's log, by way of standard error. Never a credential in them, nor what was asked.
//!
//! What strangers can cause is logged a few times a minute for each kind; the others are counted and told in one
//! line. Called from any task; it waits for nothing but standard error.

use std::fmt::Arguments;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::peer::Peer;

/// Lines of a kind within [`WHILE`].
const LINES: u32 = 10;
const WHILE: Duration = Duration::from_mins(1);

/// Why somebody was refused, or their connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unauthorized,
    Forbidden,
    NotServed,
    Host,
    Clients,
    ClientsOfAddress,
    Requests,
    TooMany,
    Unavailable,
    Head,
    Idle,
    Send,
    Flood,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotServed,
        Self::Host,
        Self::Clients,
        Self::ClientsOfAddress,
        Self::Requests,
        Self::TooMany,
        Self::Unavailable,
        Self::Head,
        Self::Idle,
        Self::Send,
        Self::Flood,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Unauthorized => "401 unauthorized",
            Self::Forbidden => "403 forbidden",
            Self::NotServed => "404, event_source.protocols does not name the protocol",
            Self::Host => "421, event_source.allowed_hosts does not list the host",
            Self::Clients => "429, event_source.max_clients is reached",
            Self::ClientsOfAddress => "429, event_source.max_clients_per_address is reached",
            Self::Requests => "429, event_source.max_requests_per_second is reached",
            Self::TooMany => "429, too many",
            Self::Unavailable => "503 unavailable",
            Self::Head => "no whole request came within event_source.head_timeout",
            Self::Idle => "nothing was asked within event_source.idle_timeout",
            Self::Send => "nothing was taken within event_source.send_timeout",
            Self::Flood => "it sent too much for no reason",
        }
    }
}

/// Writes one line. When standard error is gone there is nowhere left to say so.
pub(crate) fn line(text: Arguments<'_>) {
    let line = format!("event_source server: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A request was refused. The route is the pattern of its path, without what the client put in.
pub(crate) fn refused(kind: Kind, peer: Peer, method: &str, route: &str) {
    told(kind, format_args!("refused {method} {route} of {peer}: {}", kind.text()));
}

/// A connection, or one of its streams, was closed.
pub(crate) fn closed(kind: Kind, peer: Peer) {
    told(kind, format_args!("closed a connection of {peer}: {}", kind.text()));
}

/// Tells how many were left out; to be called every now and then.
pub(crate) fn left_out() {
    let now = Instant::now();
    for kind in Kind::ALL {
        let left_out = lock(&TOLD[kind as usize]).over(now);
        if let Some(count) = left_out {
            line(format_args!("{count} more within a minute: {}", kind.text()));
        }
    }
}

fn told(kind: Kind, text: Arguments<'_>) {
    let (left_out, is_told) = lock(&TOLD[kind as usize]).tell(Instant::now());
    if let Some(count) = left_out {
        line(format_args!("{count} more within a minute: {}", kind.text()));
    }
    if is_told {
        line(text);
    }
}

static TOLD: [Mutex<Told>; Kind::ALL.len()] = [const { Mutex::new(Told::NONE) }; Kind::ALL.len()];

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().expect("no holder of this lock panics")
}

/// What was told of a kind since a moment.
#[derive(Debug)]
struct Told {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Told {
    const NONE: Self = Self { since: None, lines: 0, left_out: 0 };

    /// How many were left out of a while that is over, and whether this one is told.
    fn tell(&mut self, now: Instant) -> (Option<u64>, bool) {
        let over = self.over(now);
        self.since.get_or_insert(now);
        let is_told = self.lines < LINES;
        if is_told {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        (over, is_told)
    }

    /// How many were left out, once the while is over.
    fn over(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now < since + WHILE) {
            return None;
        }
        let left_out = std::mem::replace(self, Self::NONE).left_out;
        (left_out > 0).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_a_few_times_a_minute_and_the_others_are_counted() {
        let start = Instant::now();
        let mut told = Told::NONE;
        let lines = (0..1000).filter(|_| told.tell(start).1).count();
        assert_eq!(lines, 10);
        assert_eq!(told.over(start), None, "the minute is not over");
        let later = start + WHILE;
        assert_eq!(told.tell(later), (Some(990), true));
        assert_eq!(told.over(later + WHILE), None, "nothing was left out");
    }
}
