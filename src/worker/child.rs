//! The server process: started, watched, ended.
//!
//! It shares no memory with PostgreSQL and inherits nothing but its end of the door as standard
//! input, the listening sockets from descriptor 3 on, and standard error. It may panic, be killed,
//! hang or run out of memory; the worker notices and starts another.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::confine::{self, Given};
use crate::settings;

/// How long a server may say goodbye to its clients before it is killed.
const GOODBYE: Duration = Duration::from_millis(600);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts the server; gives back the worker's end of the door, non-blocking.
    pub fn start(listeners: &[TcpListener]) -> io::Result<(Self, UnixStream)> {
        let (mine, theirs) = UnixStream::pair()?;
        mine.set_nonblocking(true)?;
        let sockets: Vec<_> = listeners.iter().map(TcpListener::as_raw_fd).collect();
        let mut command = Command::new(executable());
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .env_clear()
            .env("LISTEN_FDS", sockets.len().to_string())
            .current_dir("/");
        let limit = confine::address_space(settings::server_memory(), settings::worker_threads());
        let mut given = Given::new(sockets, limit);
        // SAFETY: between fork and exec only calls that are safe after fork: no allocation, no
        // lock, no PostgreSQL.
        unsafe { command.pre_exec(move || given.confine()) };
        let child = command.spawn().map_err(|error| {
            let path = executable();
            io::Error::new(error.kind(), format!("cannot start {}: {error}", path.display()))
        })?;
        Ok((Self { child }, mine))
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for the end of a server that was told to stop, or whose door is closed; kills it when
    /// it takes too long. Returns how it ended.
    pub fn end(mut self) -> String {
        let deadline = Instant::now() + GOODBYE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if Instant::now() < deadline => nap(),
                _ => break,
            }
        }
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => format!("{status} after it did not stop by itself"),
            Err(error) => error.to_string(),
        }
    }

    /// Ends a server at once.
    pub fn kill(mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A moment between two looks at a child that is ending: PostgreSQL owns SIGCHLD, and no
/// descriptor tells of it on every kernel.
#[expect(clippy::disallowed_methods, reason = "there is nothing to wait on; see above")]
fn nap() {
    std::thread::sleep(Duration::from_millis(2));
}

/// `event_source_server`, beside the library.
fn executable() -> PathBuf {
    // SAFETY: a C string that the server filled at start.
    let folder = unsafe { std::ffi::CStr::from_ptr((&raw const pg_sys::pkglib_path).cast()) };
    PathBuf::from(folder.to_string_lossy().into_owned()).join("event_source_server")
}
