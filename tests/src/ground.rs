//! Folders and ports for clusters, and the removal of what killed tests left behind.
//!
//! It runs on the test's thread. Everything lies under `run` in the private folder; the name of each
//! folder begins with the process that uses it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use crate::private;
use crate::processes::{Pid, Signal};
use crate::wait::wait_until;

/// What a server may take to end, and its folder to be removed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh folder that belongs to the user of the server. Its name tells who uses it.
pub(crate) fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let run = private::root().join("run");
    let own = std::process::id();
    if NUMBER.load(Ordering::Relaxed) == 0 {
        sweep(&run);
    }
    let folder = run.join(format!("{own}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    private::own_folder(&folder);
    folder
}

/// Ends and removes what tests left behind that were killed before they could.
fn sweep(run: &Path) {
    let Ok(entries) = fs::read_dir(run) else { return };
    for folder in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let owner =
            folder.file_name().and_then(|name| name.to_str()?.split_once('-')?.0.parse().ok());
        if owner.is_none_or(|pid| Pid(pid).lives()) {
            continue;
        }
        let first_line = fs::read_to_string(folder.join("data/postmaster.pid"))
            .ok()
            .and_then(|file| Some(Pid(file.lines().next()?.parse().ok()?)));
        if let Some(postmaster) = first_line
            && postmaster.name().as_deref() == Some("postgres")
        {
            postmaster.signal(Signal::QUIT);
            wait_until("a left-over server to end", PATIENCE, || !postmaster.lives());
        }
        remove(&folder);
    }
}

/// Removes a folder; the server may still be writing its last statistics file.
pub(crate) fn remove(folder: &Path) {
    wait_until("the cluster's folder to be removed", PATIENCE, || {
        match fs::remove_dir_all(folder) {
            Ok(()) => true,
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        }
    });
}

/// A port that nobody listens on and no other test takes, below the range from which the kernel takes outgoing
/// ports: one of those could be in use as soon as a stopped cluster is started again.
///
/// # Panics
/// When this process has used up its block, or every block is taken.
#[must_use]
pub fn free_port() -> u16 {
    static BLOCK: OnceLock<(u16, File)> = OnceLock::new();
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, _lock) = BLOCK.get_or_init(own_block);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < BLOCK_SIZE, "a test needs more than {BLOCK_SIZE} ports");
        let port = first + step;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Ports that a process may take.
const BLOCK_SIZE: u16 = 250;

/// The first port of a block that no other process has, and the lock that says so until this one ends.
fn own_block() -> (u16, File) {
    const LOW: u16 = 12_000;
    const HIGH: u16 = 30_000;
    let ports = private::root().join("ports");
    fs::create_dir_all(&ports).expect("the private folder can be written");
    const BLOCKS: u16 = (HIGH - LOW) / BLOCK_SIZE;
    // Another checkout has locks of its own: its tests begin elsewhere, most likely.
    let start = std::process::id() as u16;
    (0..BLOCKS)
        .map(|step| LOW + start.wrapping_add(step) % BLOCKS * BLOCK_SIZE)
        .find_map(|first| {
            let file = ports.join(first.to_string());
            let lock = File::options().create(true).truncate(false).write(true).open(file);
            let lock = lock.expect("the lock can be made");
            lock.try_lock().is_ok().then_some((first, lock))
        })
        .expect("few tests run at once")
}
