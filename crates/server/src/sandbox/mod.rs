//! What the server takes away from itself, before it reads a byte of the network.
//!
//! It guarantees that from [`enter`] on the process opens no file, makes no socket,
//! connects to nothing, starts no program and sends no signal to another process, whatever its memory has been made to
//! do. What it still needs is open already: the door, the listening sockets, standard error. The worker has taken away
//! before `exec` what a process can be denied from outside (`src/worker/confine.rs`).
//!
//! Runs on the main thread, before it starts another one: landlock holds for the thread that asks for it and for those
//! that it starts later. What an allocator has started already is held by seccomp alone.
//!
//! - [`calls`]: the system calls that are left; [`filter`]: as a filter for the kernel
//!
//! A kernel without one of the two is a warning in the log: what the other one and the worker took away holds.

mod calls;
mod filter;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, RulesetStatus,
    Scope,
};

use crate::log;

pub use calls::{ALWAYS, DEADLY, Own, when};

/// What the kernel has agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// No file can be opened; where the kernel is new enough, no TCP connection either, and no signal sent.
    pub landlock: bool,
    /// Only the system calls of [`calls`] are left.
    pub seccomp: bool,
}

/// Gives up everything that serving on these sockets does not need. There is no way back.
pub fn enter(listeners: &[TcpListener]) -> InForce {
    // In this order: the filter leaves no call that could ask for landlock.
    let landlock = match forbid_files() {
        Ok(RulesetStatus::NotEnforced) => {
            log::line(format_args!(
                "warning: this kernel has no landlock, or it is switched off: the server is held by seccomp alone"
            ));
            false
        }
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => true,
        Err(error) => {
            log::line(format_args!("warning: landlock cannot be used: {error}"));
            false
        }
    };
    let seccomp = match filter::install(own(listeners)) {
        Ok(()) => true,
        Err(error) => {
            log::line(format_args!("warning: seccomp cannot be used: {error}"));
            false
        }
    };
    InForce { landlock, seccomp }
}

/// What [`when`] needs to know.
pub fn own(listeners: &[TcpListener]) -> Own {
    let log = io::stderr().as_raw_fd();
    let last_lent = listeners.iter().map(AsRawFd::as_raw_fd).fold(log, RawFd::max);
    Own { pid: std::process::id(), last_lent }
}

/// Everything that landlock can forbid, without an exception; of it what this kernel knows.
fn forbid_files() -> Result<RulesetStatus, RulesetError> {
    const NEWEST: ABI = ABI::V6;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    Ok(ruleset.create()?.restrict_self()?.ruleset)
}
