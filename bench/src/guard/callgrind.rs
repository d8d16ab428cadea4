//! A program under callgrind, its run cut into parts by calls of a function.
//!
//! What was counted in each part stays in a folder beside the private PostgreSQL, a file for each, for
//! `bench/guard.sh annotate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use event_source_tests::private::{output, root};

/// A run that has ended.
#[derive(Debug)]
pub struct Counted {
    /// What the program said.
    pub said: String,
    files: PathBuf,
}

impl Counted {
    /// Runs `program` by `valgrind`, which is only the user's choice, to its end. Calls of functions with
    /// the name `mark` end parts. `folder` is where that user may write.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(valgrind: &mut Command, folder: &Path, mark: &str, program: &[&str]) -> Self {
        let files = folder.join("callgrind");
        let said = output(
            valgrind
                .args(["--quiet", "--tool=callgrind"])
                .arg(format!("--dump-before={mark}"))
                .arg(format!("--callgrind-out-file={}", files.display()))
                .args(program),
        );
        Self { said, files }
    }

    /// The instructions of a part; the first is 1. By which functions is kept under `name`.
    ///
    /// # Panics
    /// When the run had fewer parts.
    #[must_use]
    pub fn part(&self, number: usize, name: &str) -> f64 {
        let (from, to) = (self.files.with_extension(number.to_string()), profiles().join(name));
        fs::rename(&from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        let text = fs::read_to_string(&to).expect("it was just put there");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.parse().ok());
        total.unwrap_or_else(|| panic!("{} has no totals", to.display()))
    }
}

/// Where the parts are kept.
///
/// # Panics
/// When there can be no such folder.
#[must_use]
pub fn profiles() -> PathBuf {
    let folder = root().join("guard");
    fs::create_dir_all(&folder).expect("a folder can be made where the builds are");
    folder
}
