//! The server process: started, watched, ended.
//!
//! It shares no memory with PostgreSQL and inherits nothing but its end of the door as standard
//! input, the listening sockets from descriptor 3 on, and standard error. It may panic, be killed
//! or run out of memory; the worker notices the end of the door and starts another.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

/// How long a server may say goodbye to its clients before it is killed.
const GOODBYE: Duration = Duration::from_millis(600);
/// The first descriptor of the LISTEN_FDS convention.
const FIRST_LISTENER: RawFd = 3;

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
        let sockets: Vec<RawFd> = listeners.iter().map(AsRawFd::as_raw_fd).collect();
        let mut command = Command::new(executable());
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .env_clear()
            .env("LISTEN_FDS", sockets.len().to_string())
            // PostgreSQL signals whole process groups: in the worker's, pg_cancel_backend(worker)
            // would kill the server, and a fast stop before it has said goodbye.
            .process_group(0)
            .current_dir("/");
        let mut parked = sockets.clone();
        // SAFETY: between fork and exec only calls that are safe after fork: no allocation, no
        // lock, no PostgreSQL.
        unsafe { command.pre_exec(move || hand_over(&sockets, &mut parked)) };
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

/// In the child, between fork and exec. `parked` is room for as many descriptors as `sockets` has.
fn hand_over(sockets: &[RawFd], parked: &mut [RawFd]) -> io::Result<()> {
    let check = |result: i32| {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    };
    // SAFETY: plain system calls on this process's own state; every descriptor named is open.
    unsafe {
        // The worker's mask may block signals, and Command does not reset it: a server that
        // inherits it ignores SIGTERM for ever.
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // The server ends with the worker, however the worker ends.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // PostgreSQL opens data files and its death pipe without close-on-exec. Not a plain close:
        // the standard library reports a failed exec through one of these descriptors.
        let on_exec = libc::CLOSE_RANGE_CLOEXEC as i32;
        check(libc::close_range(FIRST_LISTENER as u32, u32::MAX, on_exec))?;
        // In two steps, since a socket may sit on the number that another one is to get.
        let above = FIRST_LISTENER + sockets.len() as RawFd;
        for (parked, &socket) in parked.iter_mut().zip(sockets) {
            *parked = check(libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, above))?;
        }
        for (at, &parked) in parked.iter().enumerate() {
            // dup2 clears close-on-exec on the target. What it replaces may be the channel that
            // reports a failed exec; the worker then sees the end of the door instead.
            check(libc::dup2(parked, FIRST_LISTENER + at as RawFd))?;
        }
    }
    Ok(())
}
