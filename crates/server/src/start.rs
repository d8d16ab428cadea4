//! The start: takes the descriptors that the worker left, locks itself in, shakes hands, builds the runtime.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use event_source_door::message::{Config, ToWorker};
use listenfd::ListenFd;

use crate::door::{Door, DoorError};
use crate::sandbox::{self, InForce};
use crate::{log, routes, serve};

/// The process was not started by the worker.
const EXIT_USAGE: u8 = 2;
/// The worker speaks another version.
const EXIT_VERSION: u8 = 3;

/// Runs the server until its worker ends it.
pub fn start() -> ExitCode {
    let (door, listeners) = match descriptors() {
        Ok(descriptors) => descriptors,
        Err(error) => {
            log::line(format_args!(
                "is started by the event_source worker of PostgreSQL, not by hand: {error}"
            ));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    // Before there is a second thread, and before anything is read.
    let confined = sandbox::enter(&listeners);
    match introduce(door, confined) {
        Ok((door, config)) => run(door, &config, listeners),
        Err(DoorError::Closed) => ExitCode::FAILURE,
        Err(error @ DoorError::Io(_)) => {
            log::line(format_args!("{error}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            log::line(format_args!("{error}"));
            ExitCode::from(EXIT_VERSION)
        }
    }
}

/// The door is standard input, the listeners stand behind it by the `LISTEN_FDS` convention.
fn descriptors() -> io::Result<(UnixStream, Vec<TcpListener>)> {
    let mut inherited = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..inherited.len() {
        if let Some(listener) = inherited.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::other("no listening socket was handed over"));
    }
    // Above the sockets, so that these are told from what is the server's own by their numbers.
    let door = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    door.peer_addr()?;
    Ok((door, listeners))
}

/// Shakes hands, and says what the server has given up.
fn introduce(door: UnixStream, confined: InForce) -> Result<(Door, Config), DoorError> {
    let (door, config) = Door::knock(door)?;
    let InForce { landlock, seccomp } = confined;
    door.say(&ToWorker::Confined { landlock, seccomp })?;
    Ok((door, config))
}

fn run(door: Door, config: &Config, listeners: Vec<TcpListener>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads.max(1) as usize)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            log::line(format_args!("cannot start its threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended =
        runtime.block_on(serve::serve(door, config.clone(), listeners, routes::protocols()));
    // Nothing is waited for: what clients still have to read they get again by their cursors.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}
