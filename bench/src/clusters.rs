//! The clusters of the benchmarks: of a PostgreSQL that has the peers' files beside the release
//! build (`bench/run`).

use std::path::PathBuf;
use std::process::Command;

use event_source_tests::private::{output, root};
use event_source_tests::{Build, Options};

/// A place for a file of this run, on the disk of the clusters. What a run leaves that is killed is
/// removed with its clusters, by the next one.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    let folder = root().join(format!("run/{}-files", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made where the clusters are");
    folder.join(name)
}

/// Removes the files of this run.
///
/// # Panics
/// When they cannot be removed.
pub fn clean() {
    let folder = file("");
    std::fs::remove_dir_all(folder).expect("the files of a run can be removed");
}

/// One with the extension, as the tests have it.
#[must_use]
pub fn ours() -> Options {
    Options::default().build(Build::Bench)
}

/// One on which writers are measured: nothing else starts to work by itself.
#[must_use]
pub fn for_writers() -> Options {
    ours()
        .conf("autovacuum", "off")
        // The first change of a page behind a checkpoint writes all of the page to WAL.
        .conf("checkpoint_timeout", "1h")
        .conf("max_wal_size", "16GB")
        // A quiet stream's status is a cost of time, not of changes.
        .conf("event_source.status_interval", "10min")
}

/// One whose log keeps all that is written to it, and nothing else starts to work by itself.
#[must_use]
pub fn full() -> Options {
    for_readers(ours()).conf("event_source.max_log_size", "64GB")
}

/// One without our library, and without a database yet.
#[must_use]
pub fn plain() -> Options {
    for_readers(ours())
        .without_extension()
        .conf("shared_preload_libraries", "")
        .conf("event_source.listen", "")
}

/// One on which these plugins may decode, named with commas.
#[must_use]
pub fn decoding(options: Options, plugins: &str) -> Options {
    const ALLOWED: &str = "output_plugin_libraries";
    let options = options.conf("wal_level", "logical");
    // Minor releases of 2026 load only those plugins that this setting names; others have none.
    let mut postgres = Command::new(Build::Bench.bin().join("postgres"));
    let known = output(postgres.arg("--describe-config"));
    let known = known.lines().any(|line| line.split('\t').next() == Some(ALLOWED));
    if known { options.conf(ALLOWED, plugins) } else { options }
}

fn for_readers(options: Options) -> Options {
    options
        .conf("autovacuum", "off")
        .conf("checkpoint_timeout", "1h")
        .conf("max_wal_size", "16GB")
        .conf("shared_buffers", "1GB")
}

/// Whether what a peer needs is on this machine (`bench/peers.sh`).
#[must_use]
pub fn has_peer(name: &str) -> bool {
    std::fs::read_dir(root().join("bench/peers")).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(name))
        })
    })
}
