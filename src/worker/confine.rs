//! What is taken away from the server before it begins: between fork and exec, in the child.
//!
//! It guarantees that the executable starts with its end of the door, the listening sockets and the log, and with
//! nothing else: no descriptor of PostgreSQL's, no environment, no terminal, no way to other rights, no core file with a
//! client's rows, and no more address space than a server needs that keeps to its memory. What needs no file to be open any
//! more the server gives up by itself (`crates/server/src/sandbox`).
//!
//! Only calls that are safe after fork: no allocation, no lock, no PostgreSQL. [`address_space`] runs before.

use std::io;
use std::mem::offset_of;
use std::os::fd::RawFd;

/// The first descriptor of the LISTEN_FDS convention.
const FIRST_LISTENER: RawFd = 3;
/// Beside what it holds for clients: its code, and what an allocator reserves and does not use.
const ADDRESS_SPACE: u64 = 2 << 30;
/// For each thread: its stack, and an allocator's arena of its own.
const PER_THREAD: u64 = 128 << 20;
/// Numbers of descriptors that are tried where the kernel lists them nowhere; it gives out no higher ones by default.
const MOST_DESCRIPTORS: RawFd = 1 << 20;
/// The first to go when the machine runs out of memory.
const OOM_SCORE: &[u8] = b"1000";

/// How much address space a server gets that is to hold at most so many bytes: what it allocates is never all of what it
/// reserves, and a limit that is met ends the process. So it is far above the one that the server keeps to.
pub(super) fn address_space(memory: u64, threads: u32) -> u64 {
    memory * 2 + ADDRESS_SPACE + u64::from(threads) * PER_THREAD
}

/// What the child gets, prepared before the fork.
#[derive(Debug)]
pub(super) struct Given {
    sockets: Vec<RawFd>,
    /// Room for as many descriptors as `sockets` has.
    parked: Vec<RawFd>,
    address_space: libc::rlim_t,
    worker: libc::pid_t,
}

impl Given {
    pub(super) fn new(sockets: Vec<RawFd>, address_space: u64) -> Self {
        let parked = sockets.clone();
        Self { sockets, parked, address_space, worker: std::process::id() as libc::pid_t }
    }

    /// In the child, between fork and exec.
    pub(super) fn confine(&mut self) -> io::Result<()> {
        self.end_with_the_worker()?;
        self.limit()?;
        close_on_exec()?;
        self.hand_over()
    }

    fn end_with_the_worker(&self) -> io::Result<()> {
        // SAFETY: plain system calls on this process's own state.
        unsafe {
            // The worker's mask may block signals, and Command does not reset it: a server that
            // inherits it ignores SIGTERM for ever.
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            // Its own process group: PostgreSQL signals whole ones, and in the worker's, pg_cancel_backend(worker)
            // would kill the server, and a fast stop before it has said goodbye. Its own session: no terminal.
            check(libc::setsid())?;
            // The server ends with the worker, however the worker ends; also when it has done so already.
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            if libc::getppid() != self.worker {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    }

    fn limit(&self) -> io::Result<()> {
        // SAFETY: plain system calls on this process's own state; the structs live.
        unsafe {
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            // A service that may bind low ports has that right to give away, and its server needs it for nothing. Kernels
            // without such rights have none to take.
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
            libc::umask(0o077);
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            check(libc::setrlimit(libc::RLIMIT_CORE, &none))?;
            let mut limit = none;
            check(libc::getrlimit(libc::RLIMIT_AS, &mut limit))?;
            limit.rlim_max = limit.rlim_max.min(self.address_space);
            limit.rlim_cur = limit.rlim_max;
            check(libc::setrlimit(libc::RLIMIT_AS, &limit))?;
            // A descriptor for each client: PostgreSQL's own processes get by with fewer.
            check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
            limit.rlim_cur = limit.rlim_max;
            check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
            // Without /proc there is nothing to write it to, and `event_source.status` does not show it.
            let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY);
            if score >= 0 {
                libc::write(score, OOM_SCORE.as_ptr().cast(), OOM_SCORE.len());
                libc::close(score);
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        // SAFETY: plain system calls on descriptors of this process's own; those named are open.
        unsafe {
            // In two steps, since a socket may sit on the number that another one is to get.
            let above = FIRST_LISTENER + self.sockets.len() as RawFd;
            for (parked, &socket) in self.parked.iter_mut().zip(&self.sockets) {
                *parked = check(libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, above))?;
            }
            for (at, &parked) in self.parked.iter().enumerate() {
                // dup2 clears close-on-exec on the target. What it replaces may be the channel that
                // reports a failed exec; the worker then sees the end of the door instead.
                check(libc::dup2(parked, FIRST_LISTENER + at as RawFd))?;
            }
        }
        Ok(())
    }
}

/// Has every descriptor behind standard error closed by exec: PostgreSQL opens data files and its death pipe without
/// that. Not a plain close: the standard library reports a failed exec through one of these descriptors.
fn close_on_exec() -> io::Result<()> {
    let (first, on_exec) = (FIRST_LISTENER as u32, libc::CLOSE_RANGE_CLOEXEC);
    // By its number: glibc has a function for it only since 2.34.
    // SAFETY: sets flags of this process's own descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, on_exec) } == 0 {
        return Ok(());
    }
    // Linux 5.10 does not know the flag, those before 5.9 not the call.
    // SAFETY: a C string.
    let folder =
        unsafe { libc::open(c"/proc/self/fd".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY) };
    if folder < 0 {
        (FIRST_LISTENER..MOST_DESCRIPTORS).for_each(mark);
        return Ok(());
    }
    // The kernel writes whole entries, each aligned for its numbers.
    let mut entries = [0u64; 256];
    loop {
        let (at, size) = (entries.as_mut_ptr().cast::<u8>(), size_of_val(&entries));
        // SAFETY: the array has so many bytes.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, folder, at, size) };
        if read < 0 {
            return Err(io::Error::last_os_error());
        }
        if read == 0 {
            // SAFETY: opened above.
            unsafe { libc::close(folder) };
            return Ok(());
        }
        let mut entry = 0;
        while entry < read as usize {
            // SAFETY: the kernel wrote an entry here, its length in it and its name ended by a zero.
            let (length, name) = unsafe {
                let entry = at.add(entry);
                let length = entry.add(offset_of!(libc::dirent64, d_reclen)).cast::<u16>();
                (length.read_unaligned(), entry.add(offset_of!(libc::dirent64, d_name)))
            };
            // SAFETY: as above.
            let number = unsafe { libc::atoi(name.cast()) };
            // "." and ".." are no numbers.
            if number >= FIRST_LISTENER {
                mark(number);
            }
            entry += usize::from(length);
        }
    }
}

/// One that is not open stays so.
fn mark(descriptor: RawFd) {
    // SAFETY: sets a flag of this process's own descriptor.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
