//! A disk whose flushes can be made to take longer while clusters run on it (`bench/shim`).

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use event_source_tests::Options;
use event_source_tests::private::{checkout, output};

use crate::clusters;

/// The delay of every cluster that was started with it; none at first. Dropping it removes its files.
#[derive(Debug)]
pub struct SlowDisk {
    library: PathBuf,
    delay: PathBuf,
}

impl SlowDisk {
    /// # Panics
    /// When there is no C compiler, which PostgreSQL extensions need anyway.
    #[must_use]
    pub fn new() -> Self {
        let (library, delay) = (clusters::file("slow_disk.so"), clusters::file("slow_disk"));
        let disk = Self { library, delay };
        let source = checkout().join("bench/shim/slow_disk.c");
        let flags = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"];
        output(Command::new("cc").args(flags).arg(&disk.library).arg(source));
        disk.set(Duration::ZERO);
        disk
    }

    /// Puts a cluster on this disk.
    #[must_use]
    pub fn below(&self, options: Options) -> Options {
        options.env("LD_PRELOAD", &self.library).env("SLOW_DISK_FILE", &self.delay)
    }

    /// # Panics
    /// When the delay is longer than an hour, or cannot be written.
    pub fn set(&self, delay: Duration) {
        let microseconds =
            u32::try_from(delay.as_micros()).expect("a flush takes less than an hour");
        // In place: the servers have the file mapped.
        fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.delay)
            .and_then(|mut file| file.write_all(&microseconds.to_ne_bytes()))
            .expect("the delay can be written");
    }
}

impl Default for SlowDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // What is not there any more needs no removal.
        let _gone = (fs::remove_file(&self.library), fs::remove_file(&self.delay));
    }
}
