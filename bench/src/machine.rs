//! The machine that a run was on: what stands beside every table.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use event_source_tests::Build;
use event_source_tests::consume::latency::pause_until;
use event_source_tests::private::output;
use serde::{Deserialize, Serialize};

use crate::clusters;
use crate::work::median;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub cores: usize,
    pub processor: String,
    pub kernel: String,
    pub postgresql: String,
    /// Milliseconds that the disk below the clusters takes to make 8 kB last (fdatasync).
    pub flush: f64,
}

impl Machine {
    /// # Panics
    /// When the machine does not say what it is.
    #[must_use]
    pub fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").expect("/proc is there");
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let postgres = Build::Bench.bin().join("postgres");
        Self {
            date: output(Command::new("date").args(["-u", "+%F"])),
            cores: std::thread::available_parallelism().expect("a number of cores").get(),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            kernel: output(Command::new("uname").arg("-sr")),
            postgresql: output(Command::new(postgres).arg("--version"))
                .trim_start_matches("postgres (PostgreSQL) ")
                .to_owned(),
            flush: flush(300, None),
        }
    }
}

/// The median of what a flush of a page takes where the clusters' data are, in milliseconds: one behind the
/// other, or at a pace, by which disk and processor have fallen asleep.
///
/// # Panics
/// When the disk cannot be written.
#[must_use]
pub fn flush(times: u32, pace: Option<Duration>) -> f64 {
    let path = clusters::file("flush");
    let mut file = File::create(&path).expect("a file can be made where the clusters are");
    let page = [0x55; 8192];
    // Over the same page, as WAL is written into files that are there already.
    let mut once = || {
        file.rewind().expect("a file can be gone back in");
        file.write_all(&page).expect("a page can be written");
        let start = Instant::now();
        file.sync_data().expect("a file can be flushed");
        start.elapsed().as_secs_f64() * 1000.0
    };
    once();
    let begun = Instant::now();
    let times: Vec<f64> = (0..times)
        .map(|at| {
            if let Some(pace) = pace {
                pause_until(begun + pace * at);
            }
            once()
        })
        .collect();
    fs::remove_file(&path).expect("it was just made");
    median(&times)
}
