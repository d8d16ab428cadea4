//! The server's side of the door: reads the worker's messages in order, writes the hub's.
//!
//! Tails that came in one read are handed on as one. It runs in one task. It ends when the pair does, and
//! the process ends with it: without its worker a server could only serve what is no longer true.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use event_source_door::frame::{self, FrameError, Reader};
use event_source_door::message::{Config, PROTOCOL, Tail, ToServer, ToWorker};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::faults::{self, Point};
use crate::hub::Hub;

/// What one read takes from the pair.
const READ: usize = 256 * 1024;

/// Why the door is no longer open.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error("the door failed: {0}")]
    Io(#[from] io::Error),
    #[error("the worker cannot be understood: {0}")]
    Frame(#[from] FrameError),
    #[error("the worker has version {theirs}, this server is {ours}")]
    Version { theirs: String, ours: &'static str },
    #[error("the worker refused this server: {0}")]
    Refused(String),
    #[error("the worker spoke before it said welcome")]
    NoWelcome,
    #[error("the worker closed the door")]
    Closed,
}

/// A door on both sides of which the same version stands.
#[derive(Debug)]
pub struct Door {
    stream: StdStream,
    /// It may hold messages that came right behind the welcome.
    reader: Reader,
}

impl Door {
    /// Says hello and waits for the welcome, before there is a runtime: its threads are a setting.
    ///
    /// # Errors
    /// When the other side is no worker of this version.
    pub fn knock(stream: StdStream) -> Result<(Self, Config), DoorError> {
        let ours = env!("CARGO_PKG_VERSION");
        let mut hello = Vec::new();
        frame::push(&mut hello, &ToWorker::Hello { protocol: PROTOCOL, version: ours.to_owned() })?;
        stream.set_nonblocking(false)?;
        io::Write::write_all(&mut &stream, &hello)?;
        let mut reader = Reader::new(frame::MAX_FRAME);
        let mut bytes = vec![0; READ];
        let message = loop {
            if let Some(message) = reader.next::<ToServer>()? {
                break message;
            }
            match io::Read::read(&mut &stream, &mut bytes)? {
                0 => return Err(DoorError::Closed),
                n => reader.feed(&bytes[..n]),
            }
        };
        stream.set_nonblocking(true)?;
        match message {
            ToServer::Welcome { version, config } if version == ours => {
                reader.limit(frame::longest(config.server_memory_bytes));
                Ok((Self { stream, reader }, config))
            }
            ToServer::Welcome { version, .. } => Err(DoorError::Version { theirs: version, ours }),
            ToServer::Refused { refusal, .. } => Err(DoorError::Refused(refusal.message)),
            _ => Err(DoorError::NoWelcome),
        }
    }

    /// Says one thing before there is a runtime.
    ///
    /// # Errors
    /// When the pair has ended.
    pub fn say(&self, message: &ToWorker) -> Result<(), DoorError> {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, message)?;
        // Nothing but the hello was written: there is room, and it does not wait.
        Ok(io::Write::write_all(&mut &self.stream, &bytes)?)
    }

    /// Carries messages both ways until the pair ends; never returns without a reason.
    pub async fn run(self, hub: Arc<Hub>) -> DoorError {
        let stream = match UnixStream::from_std(self.stream) {
            Ok(stream) => stream,
            Err(error) => return error.into(),
        };
        let (from, to) = stream.into_split();
        let ended = tokio::select! {
            ended = read(from, self.reader, &hub) => ended,
            ended = write(to, &hub) => ended,
        };
        match ended {
            Ok(()) => DoorError::Closed,
            Err(error) => error,
        }
    }
}

async fn read(
    mut from: OwnedReadHalf,
    mut reader: Reader,
    hub: &Arc<Hub>,
) -> Result<(), DoorError> {
    let mut bytes = vec![0; READ];
    // What it takes to read a large message and to decode it.
    let purse = hub.purse();
    loop {
        let mut tail: Option<Tail> = None;
        while let Some((message, length)) = reader.next_and_length()? {
            if length > READ {
                // Its receiver counts it.
                purse.set(0);
            }
            let apart = match (tail.as_mut(), message) {
                (Some(tail), ToServer::Tail(next)) => match join(tail, next) {
                    Ok(()) => continue,
                    Err(next) => ToServer::Tail(*next),
                },
                (_, message) => message,
            };
            if let Some(tail) = tail.take() {
                hub.receive(ToServer::Tail(tail), 0);
            }
            if let ToServer::Config(config) = &apart {
                reader.limit(frame::longest(config.server_memory_bytes));
            }
            match apart {
                ToServer::Tail(next) => tail = Some(next),
                message => hub.receive(message, length),
            }
        }
        if let Some(tail) = tail {
            hub.receive(ToServer::Tail(tail), 0);
        }
        let begun = reader.begun().filter(|length| *length > READ);
        purse.set(begun.map_or(0, |length| length * 2));
        match from.read(&mut bytes).await? {
            0 => return Ok(()),
            n => reader.feed(&bytes[..n]),
        }
    }
}

/// Makes one of two tails that came together, so that what is in them is looked at together by each stream
/// and may share its frames; gives the second one back unless it goes on exactly where the first one ends.
fn join(tail: &mut Tail, next: Tail) -> Result<(), Box<Tail>> {
    let last = tail.changes.last().map(|change| &change.position);
    let goes_on = next.since <= tail.end.txn_ts
        && next.end >= tail.end
        && next.changes.first().is_none_or(|first| {
            first.position > tail.end && last.is_none_or(|last| first.position > *last)
        });
    if !goes_on {
        return Err(Box::new(next));
    }
    tail.end = next.end;
    tail.closed = next.closed;
    tail.changes.append(next.changes);
    for (collection, cost) in next.looked_at {
        match tail.looked_at.iter_mut().find(|(looked_at, _)| *looked_at == collection) {
            Some((_, sum)) => *sum += cost,
            None => tail.looked_at.push((collection, cost)),
        }
    }
    Ok(())
}

async fn write(mut to: OwnedWriteHalf, hub: &Hub) -> Result<(), DoorError> {
    loop {
        let mut bytes = Vec::new();
        for message in hub.outgoing().await {
            // By itself first: one that cannot be sent fails alone.
            let mut one = Vec::new();
            let pushed = faults::caught("a message to the worker", || {
                faults::pass(Point::Door);
                frame::push_within(&mut one, &message, frame::MAX_REQUEST)
            });
            match pushed {
                Some(Ok(())) => bytes.append(&mut one),
                Some(Err(FrameError::Damaged(error))) => return Err(FrameError::from(error).into()),
                Some(Err(FrameError::TooLong(_))) | None => hub.cannot_send(&message),
            }
        }
        to.write_all(&bytes).await?;
    }
}

#[cfg(test)]
mod tests {
    use event_source_door::message::{Changes, SeenBy, TailChange};
    use event_source_model::cost::Cost;
    use event_source_model::position::Position;

    use super::*;

    fn tail(since: i64, closed: i64, changes: &[i64]) -> Tail {
        let change = |txn_ts: &i64| TailChange {
            position: Position::at(*txn_ts, 0),
            payload: Vec::new(),
            seen_by: SeenBy::new(),
        };
        let list = changes.iter().map(change).collect();
        let cost = Cost { changes: changes.len() as u64, bytes: 1, micros: 2 };
        Tail {
            since,
            end: Position::after(closed),
            closed,
            changes: Changes { list, ..Changes::default() },
            looked_at: vec![(11, cost)],
        }
    }

    #[test]
    fn tails_that_follow_each_other_become_one() {
        let mut first = tail(10, 20, &[15, 20]);
        join(&mut first, tail(20, 30, &[25])).expect("it goes on");
        let cost = Cost { changes: 3, bytes: 2, micros: 4 };
        assert_eq!(first, Tail { looked_at: vec![(11, cost)], ..tail(10, 30, &[15, 20, 25]) });
    }

    #[test]
    fn a_gap_or_an_overlap_keeps_tails_apart() {
        for next in [tail(21, 30, &[25]), tail(10, 30, &[20, 25]), tail(10, 15, &[])] {
            let mut first = tail(10, 20, &[15, 20]);
            assert_eq!(join(&mut first, next.clone()), Err(Box::new(next)));
            assert_eq!(first, tail(10, 20, &[15, 20]));
        }
    }
}
