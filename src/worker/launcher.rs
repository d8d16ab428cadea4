//! The launcher: one background worker of the cluster, connected to no database, that starts a
//! worker for each database of `event_source.listen` and ends those no longer named. It also sends a
//! keeper to each database whose log has grown, whether it is served or not.
//!
//! Workers are started with "never restart", so that the launcher alone decides: a worker that ends
//! is started again after [`PAUSE`], with a new look at the setting.

use std::ffi::CString;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use event_source_door::listen::{self, Listen};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::keepers::Keepers;
use super::started::{Started, copy, description};
use super::{backend, process};
use crate::compat;
use crate::order::shared::{self, Shared, WORKERS};
use crate::order::wake;
use crate::settings;

/// A worker that ended is started again after this.
const PAUSE: Duration = Duration::from_millis(300);
/// One that did not live this long is started again after [`LONG_PAUSE`]: its database is missing.
const SHORT_LIFE: Duration = Duration::from_millis(400);
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Asks the postmaster for the launcher.
pub fn register() {
    // SAFETY: a flag of the server's; under pg_upgrade nobody may write but pg_upgrade.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    let mut worker = description(c"event_source launcher", c"event_source_launcher", 1);
    // SAFETY: called while the postmaster loads libraries.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) };
}

/// A worker that was asked for.
struct Running {
    database: String,
    place: usize,
    started: Started,
    since: Instant,
}

/// A database whose worker ended.
struct Paused {
    database: String,
    until: Instant,
}

/// The launcher's main function.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn event_source_launcher(_argument: pg_sys::Datum) {
    backend::install_signal_handlers();
    // To no database, but with its place among the processes: without it nobody could see the
    // launcher, and the postmaster could not tell it that a worker ended.
    // SAFETY: once, first thing.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
    }
    let Ok(shared) = shared::get() else { return };
    let generation = shared.launcher.fetch_add(1, SeqCst) + 1;
    end_orphans(shared);
    shared.launcher_proc.store(compat::my_proc_number(), SeqCst);
    let mut launcher = Launcher { generation, running: Vec::new(), paused: Vec::new() };
    let mut keepers = Keepers::default();
    let mut wanted = wanted(&[]);
    loop {
        pgrx::check_for_interrupts!();
        if backend::reload_requested() {
            wanted = self::wanted(&wanted);
        }
        let next = launcher.reconcile(&wanted).min(keepers.send(shared));
        backend::wait(next);
    }
}

/// Workers of a launcher that died look at its number when they are woken.
fn end_orphans(shared: &Shared) {
    for worker in shared.workers() {
        if worker.pid.load(SeqCst) != 0 {
            wake::set_latch(worker.proc_number.load(SeqCst));
        }
    }
}

/// The databases to serve. A setting that cannot be read changes nothing.
fn wanted(before: &[String]) -> Vec<String> {
    let list = match listen::parse(&settings::listen()) {
        Ok(list) => list,
        Err(error) => {
            log!("event_source.listen is not used: {error}");
            return before.to_vec();
        }
    };
    let mut databases: Vec<String> = Vec::new();
    for Listen { database, .. } in list {
        if !databases.contains(&database) {
            databases.push(database);
        }
    }
    if databases.len() > WORKERS {
        log!("event_source.listen names more than {WORKERS} databases, the last are not served");
        databases.truncate(WORKERS);
    }
    databases
}

struct Launcher {
    generation: u32,
    running: Vec<Running>,
    paused: Vec<Paused>,
}

impl Launcher {
    /// Makes what runs what is wanted; says when to look again at the latest.
    fn reconcile(&mut self, wanted: &[String]) -> Duration {
        self.bury();
        for running in &self.running {
            if !wanted.contains(&running.database) {
                running.started.terminate();
            }
        }
        let now = Instant::now();
        self.paused.retain(|p| p.until > now && wanted.contains(&p.database));
        for database in wanted {
            let busy = self.running.iter().any(|r| r.database == *database)
                || self.paused.iter().any(|p| p.database == *database);
            if !busy {
                self.start(database);
            }
        }
        let next = self.paused.iter().map(|p| p.until.saturating_duration_since(now)).min();
        next.unwrap_or(Duration::from_secs(60))
    }

    /// Forgets workers that ended.
    fn bury(&mut self) {
        let ended = self.running.extract_if(.., |running| running.started.has_ended());
        for ended in ended {
            let pause = if ended.since.elapsed() < SHORT_LIFE { LONG_PAUSE } else { PAUSE };
            self.paused.push(Paused { database: ended.database, until: Instant::now() + pause });
        }
    }

    fn start(&mut self, database: &str) {
        let taken = |place: &usize| self.running.iter().any(|r| r.place == *place);
        let Some(place) = (0..WORKERS).find(|place| !taken(place)) else { return };
        let mut worker =
            description(c"event_source worker", c"event_source_worker", pg_sys::BGW_NEVER_RESTART);
        worker.bgw_main_arg = process::argument(place, self.generation);
        let name = CString::new(database).expect("a setting holds no NUL");
        copy(&mut worker.bgw_extra, &name);
        let since = Instant::now();
        let database = database.to_owned();
        if let Some(started) = Started::of(worker) {
            self.running.push(Running { database, place, started, since });
        } else {
            log!(
                "no background worker is free to serve database \"{database}\": raise max_worker_processes"
            );
            self.paused.push(Paused { database, until: since + LONG_PAUSE });
        }
    }
}
