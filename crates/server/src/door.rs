//! The server's side of the door: reads the worker's messages in order, writes the hub's.
//!
//! It runs in one task. It ends when the pair does, and the process ends with it: without its
//! worker a server could only serve what is no longer true.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use event_source_door::frame::{self, FrameError, Reader};
use event_source_door::message::{Config, PROTOCOL, ToServer, ToWorker};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::hub::Hub;

/// What one read takes from the pair.
const READ: usize = 64 * 1024;

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
        let mut reader = Reader::default();
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
                Ok((Self { stream, reader }, config))
            }
            ToServer::Welcome { version, .. } => Err(DoorError::Version { theirs: version, ours }),
            ToServer::Refused { refusal, .. } => Err(DoorError::Refused(refusal.message)),
            _ => Err(DoorError::NoWelcome),
        }
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
    loop {
        while let Some(message) = reader.next()? {
            hub.receive(message);
        }
        match from.read(&mut bytes).await? {
            0 => return Ok(()),
            n => reader.feed(&bytes[..n]),
        }
    }
}

async fn write(mut to: OwnedWriteHalf, hub: &Hub) -> Result<(), DoorError> {
    loop {
        let mut bytes = Vec::new();
        for message in hub.outgoing().await {
            frame::push(&mut bytes, &message)?;
        }
        to.write_all(&bytes).await?;
    }
}
