//! The system calls that the server needs once it stands on its descriptors, and those that nobody but an attacker makes.
//!
//! A new dependency may need another: the outside tests run in the sandbox, and what is not listed fails there with "Function
//! not implemented" (ENOSYS). It is added here, with the arguments that it is needed for.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use libc::c_int;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{self, Eq, Gt, MaskedEq};
use seccompiler::{BackendError, SeccompCondition, SeccompRule};

/// Allowed with any arguments: they concern what is open, this process's memory and its own threads.
pub const ALWAYS: &[i64] = &[
    // Connections and the door.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_accept4,
    libc::SYS_close,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, and what an allocator asks about the processors.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    // Handlers of its own signals: a panic, an overflow of a stack.
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time, where the kernel does not answer in user space, and chance.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
];

/// The end of the process: nothing in the server makes these, so it is not the server any more.
pub const DEADLY: &[i64] = &[
    // Another program, another process, another process's memory.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    // Other rights, another root, another view of the system.
    libc::SYS_chroot,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_personality,
    libc::SYS_pivot_root,
    libc::SYS_setgid,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_umount2,
    libc::SYS_unshare,
    // The parts of the kernel in which exploits find their faults.
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
];

/// What makes a thread of a new process.
const THREAD: c_int =
    libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
/// A thread in another view of the system.
const NAMESPACES: c_int = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// What may be set of a connection: nothing that loads a program into the kernel or binds to a device.
const OPTIONS: &[(c_int, c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
];

/// What the rules need to know of this process.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    pub pid: u32,
    /// The highest descriptor among the log and the listening sockets. They are lent: what is done to them is done to
    /// the processes of PostgreSQL that share them.
    pub last_lent: RawFd,
}

/// Allowed with these arguments only.
///
/// # Errors
/// Never, unless a rule below is wrong in itself.
pub fn when(own: Own) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    // Neither flags of the log nor the end of a listening socket.
    let is_own = || int(0, Gt, own.last_lent);
    let no_code = || bits(2, libc::PROT_EXEC, 0);
    // It connects a socket, also where `connect` is forbidden.
    let no_connection = |flags| bits(flags, libc::MSG_FASTOPEN, 0);
    let threads = SeccompRule::new(vec![flags(0, THREAD | NAMESPACES, THREAD)?])?;
    let options = OPTIONS
        .iter()
        .map(|&(level, option)| SeccompRule::new(vec![int(1, Eq, level)?, int(2, Eq, option)?]))
        .collect::<Result<_, _>>()?;
    Ok(BTreeMap::from([
        (libc::SYS_clone, vec![threads]),
        (
            libc::SYS_fcntl,
            vec![
                SeccompRule::new(vec![int(1, Eq, libc::F_GETFD)?])?,
                SeccompRule::new(vec![int(1, Eq, libc::F_SETFD)?])?,
                SeccompRule::new(vec![int(1, Eq, libc::F_GETFL)?])?,
                SeccompRule::new(vec![is_own()?, int(1, Eq, libc::F_DUPFD_CLOEXEC)?])?,
            ],
        ),
        (libc::SYS_ioctl, vec![SeccompRule::new(vec![is_own()?, word(1, Eq, libc::FIONBIO)?])?]),
        (libc::SYS_mmap, vec![SeccompRule::new(vec![no_code()?])?]),
        (libc::SYS_mprotect, vec![SeccompRule::new(vec![no_code()?])?]),
        // The names of threads.
        (libc::SYS_prctl, vec![SeccompRule::new(vec![int(0, Eq, libc::PR_SET_NAME)?])?]),
        (libc::SYS_sendto, vec![SeccompRule::new(vec![no_connection(3)?])?]),
        (libc::SYS_sendmsg, vec![SeccompRule::new(vec![no_connection(2)?])?]),
        (libc::SYS_setsockopt, options),
        (libc::SYS_shutdown, vec![SeccompRule::new(vec![is_own()?])?]),
        // How a process ends itself.
        (libc::SYS_tgkill, vec![SeccompRule::new(vec![word(0, Eq, u64::from(own.pid))?])?]),
    ]))
}

/// `clone` for anything but a thread, which is deadly.
pub(super) fn new_process() -> Result<(i64, Vec<SeccompRule>), BackendError> {
    let apart = SeccompRule::new(vec![flags(0, libc::CLONE_THREAD, 0)?])?;
    Ok((libc::SYS_clone, vec![apart]))
}

/// The argument at `at`, an int.
fn int(at: u8, compare: SeccompCmpOp, value: c_int) -> Result<SeccompCondition, BackendError> {
    word(at, compare, u64::from(value.cast_unsigned()))
}

/// The lower half of the argument at `at`.
fn word(at: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(at, Dword, compare, value)
}

/// Of these bits of an int, those that are set.
fn bits(at: u8, of: c_int, set: c_int) -> Result<SeccompCondition, BackendError> {
    int(at, MaskedEq(u64::from(of.cast_unsigned())), set)
}

/// Of these bits of a long, those that are set.
fn flags(at: u8, of: c_int, set: c_int) -> Result<SeccompCondition, BackendError> {
    let of = u64::from(of.cast_unsigned());
    SeccompCondition::new(at, Qword, MaskedEq(of), u64::from(set.cast_unsigned()))
}
