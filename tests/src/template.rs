//! Clusters that are copied instead of made: a stopped one of each kind, kept beside the private PostgreSQL.
//!
//! initdb, CREATE DATABASE and CREATE EXTENSION take seconds, a copy of what they left a twentieth of one. A template
//! is made by the first test that needs it, anew whenever PostgreSQL or the extension was installed anew. It runs
//! on the test's thread; tests in other processes wait until it is made. Copies share the system identifier and the
//! extension's keys: a test that looks at two clusters makes them by [`Options::fresh`].
//!
//! [`Options::fresh`]: crate::Options::fresh

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ground::remove;
use crate::private::{self, Build};

/// The data folder of a template, locked against being replaced for as long as this lives.
#[derive(Debug)]
pub(crate) struct Template {
    data: PathBuf,
    used: Used,
    _shared: File,
}

impl Template {
    /// The template of this name and build; `make` leaves a stopped cluster as the data folder that it is given.
    ///
    /// # Panics
    /// When the folder of templates cannot be written.
    pub(crate) fn of(build: Build, name: &str, make: impl FnOnce(&Path)) -> Self {
        // Its name begins with no process: it outlives all of them.
        let folder = private::root().join(format!("run/template-{}-{name}", build.name()));
        let used = Used(folder.join("used"));
        private::own_folder(&used.0);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .expect("the lock can be made");
        let (data, made_of) = (folder.join("data"), folder.join("made-of"));
        let wanted = installed(build);
        let is_made = || fs::read_to_string(&made_of).is_ok_and(|made| made == wanted);
        lock.lock_shared().expect("a file can be locked");
        if !is_made() {
            lock.unlock().expect("it is locked");
            lock.lock().expect("a file can be locked");
            // Another process may have made it meanwhile.
            if !is_made() {
                remove(&data);
                make(&data);
                fs::write(&made_of, &wanted).expect("the mark can be written");
            }
            lock.lock_shared().expect("a file can be locked");
        }
        Self { data, used, _shared: lock }
    }

    /// Makes a copy, from one that is used no more if there is one; gives where that one is to go in the end.
    ///
    /// A thousand new files take ten times as long as a look at a thousand that are there: ext4 looks for
    /// inodes among those that were deleted lately.
    pub(crate) fn copy_to(&self, data: &Path) -> Used {
        for used in fs::read_dir(&self.used.0).expect("it was made").flatten() {
            // Of several tests that want it one gets it.
            if fs::rename(used.path(), data).is_ok() {
                break;
            }
        }
        private::output(
            Command::new("rsync")
                .args(["--archive", "--delete", "--inplace", "--whole-file", "--modify-window=-1"])
                .arg(self.data.join(""))
                .arg(data.join("")),
        );
        self.used.clone()
    }
}

/// The folder of a template's copies that are used no more. There are never more than clusters ran at once.
#[derive(Clone, Debug)]
pub(crate) struct Used(PathBuf);

impl Used {
    /// Segments of WAL in a copy that is kept: one that has grown large is not.
    const MOST_WAL: usize = 8;

    /// Keeps the data folder of a cluster that runs no more.
    pub(crate) fn keep(&self, data: &Path, name: &OsStr) {
        let wal = fs::read_dir(data.join("pg_wal")).map_or(usize::MAX, Iterator::count);
        if wal <= Self::MOST_WAL {
            // Where it cannot be kept it is removed with the cluster.
            let _kept = fs::rename(data, self.0.join(name));
        }
    }
}

/// The files of the extension and the version of PostgreSQL, which a template depends on.
fn installed(build: Build) -> String {
    let pg_config = build.bin().join("pg_config");
    let ask = |what: &str| private::output(Command::new(&pg_config).arg(what));
    let mut lines = vec![ask("--version")];
    for folder in
        [PathBuf::from(ask("--pkglibdir")), Path::new(&ask("--sharedir")).join("extension")]
    {
        let entries = fs::read_dir(&folder).expect("the installation has it");
        lines.extend(entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let file = entry.metadata().ok()?;
            let changed = (file.mtime(), file.mtime_nsec());
            name.starts_with("event_source")
                .then(|| format!("{name} {} {changed:?} {}", file.ino(), file.len()))
        }));
    }
    lines.sort();
    lines.join("\n")
}
