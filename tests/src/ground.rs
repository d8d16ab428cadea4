//! Folders and ports for clusters, and the removal of what killed tests left behind.
//!
//! It runs on the test's thread. Everything lies under `run` in the private folder; the name of each
//! folder begins with the process that uses it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
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
    private::output(
        private::as_server_user(Path::new("mkdir")).args(["-m", "755", "-p"]).arg(&folder),
    );
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

/// A port that nobody listens on, below the range from which the kernel takes outgoing ports: one
/// of those could be in use as soon as a stopped cluster is started again.
#[must_use]
pub fn free_port() -> u16 {
    const LOW: u16 = 12_000;
    const HIGH: u16 = 30_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(97) as u16;
        let port = LOW + start.wrapping_add(step) % (HIGH - LOW);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
