//! The counts that are kept in the repository, `bench/guard.json`, and how new ones compare with them.
//!
//! Another compiler, PostgreSQL or C library makes other instructions of the same source: then nothing is
//! compared, and that is said.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use event_source_tests::Build;
use event_source_tests::private::{checkout, output};
use serde::{Deserialize, Serialize};

use super::Count;

/// How far a count may be from the recorded one, as a part of it. Both ways: what became cheaper is
/// recorded, or it could become dearer again unseen.
const TOLERANCE: f64 = 0.03;

/// What was counted, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub made_with: Versions,
    pub instructions_per_event: Vec<Count>,
}

/// Whatever else decides which instructions run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub postgresql: String,
    pub rustc: String,
    pub libc: String,
    pub valgrind: String,
    /// The C library has other functions for other processors.
    pub processor: String,
}

/// What a comparison says.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Same,
    /// Made with something else: what differs.
    Incomparable(String),
    /// The names of the counts that differ.
    Different(Vec<String>),
}

impl Versions {
    /// Those of this machine.
    ///
    /// # Panics
    /// When a program does not say its version.
    #[must_use]
    pub fn look() -> Self {
        let of = |program: &Path| output(Command::new(program).arg("--version"));
        let libc = of(Path::new("ldd"));
        let wide = if cfg!(target_arch = "x86_64") && has_avx2() { " with avx2" } else { "" };
        Self {
            postgresql: of(&Build::Release.bin().join("postgres")),
            rustc: of(Path::new("rustc")),
            libc: libc.lines().next().unwrap_or_default().to_owned(),
            valgrind: of(Path::new("valgrind")),
            processor: format!("{}{wide}", env::consts::ARCH),
        }
    }
}

fn has_avx2() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo.split_ascii_whitespace().any(|flag| flag == "avx2")
}

impl Record {
    /// The one in the repository, if there is one.
    ///
    /// # Panics
    /// When it is not what [`Record::keep`] wrote.
    #[must_use]
    pub fn kept() -> Option<Self> {
        let text = fs::read_to_string(path()).ok()?;
        Some(serde_json::from_str(&text).expect("bench/guard.json is a record of the guard"))
    }

    /// Writes it into the repository.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn keep(&self) {
        let text = serde_json::to_string_pretty(self).expect("a record is plain data");
        fs::write(path(), text + "\n").expect("the checkout can be written");
    }

    /// What `self`, made now, is beside the kept one.
    #[must_use]
    pub fn verdict(&self, kept: &Self) -> Verdict {
        if self.made_with != kept.made_with {
            return Verdict::Incomparable(format!(
                "recorded with {:#?}\nand now there is {:#?}",
                kept.made_with, self.made_with
            ));
        }
        let now = self.instructions_per_event.iter();
        let different = now
            .filter(|count| {
                kept.of(&count.name)
                    .is_none_or(|kept| (count.instructions / kept - 1.0).abs() > TOLERANCE)
            })
            .map(|count| count.name.clone());
        // One that is no longer counted is no longer guarded.
        let gone =
            kept.instructions_per_event.iter().filter(|count| self.of(&count.name).is_none());
        let different: Vec<String> =
            different.chain(gone.map(|count| count.name.clone())).collect();
        if different.is_empty() { Verdict::Same } else { Verdict::Different(different) }
    }

    /// A table of the counts beside those of another record.
    ///
    /// # Panics
    /// Never: a `String` takes all.
    #[must_use]
    pub fn table(&self, kept: Option<&Self>) -> String {
        let mut text = format!("{:<32}{:>12}{:>12}\n", "instructions per event", "recorded", "now");
        for Count { name, instructions } in &self.instructions_per_event {
            let kept = kept.and_then(|kept| kept.of(name));
            let recorded = kept.map_or_else(|| "-".to_owned(), |kept| format!("{kept:.0}"));
            let change = kept.map_or_else(String::new, |kept| {
                format!("{:>+9.2} %", (instructions / kept - 1.0) * 100.0)
            });
            writeln!(text, "{name:<32}{recorded:>12}{instructions:>12.0}{change}")
                .expect("a String takes all");
        }
        text
    }

    fn of(&self, name: &str) -> Option<f64> {
        let count = self.instructions_per_event.iter().find(|count| count.name == name);
        count.map(|count| count.instructions)
    }
}

fn path() -> PathBuf {
    checkout().join("bench/guard.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(instructions: f64) -> Record {
        let text = String::new;
        let made_with = Versions {
            postgresql: text(),
            rustc: text(),
            libc: text(),
            valgrind: text(),
            processor: text(),
        };
        Record { made_with, instructions_per_event: vec![Count::new("capture", instructions)] }
    }

    #[test]
    fn three_parts_of_a_hundred_are_let_pass_and_no_more_either_way() {
        let kept = record(1000.0);
        let different = Verdict::Different(vec!["capture".to_owned()]);
        assert_eq!(record(1029.0).verdict(&kept), Verdict::Same);
        assert_eq!(record(971.0).verdict(&kept), Verdict::Same);
        assert_eq!(record(1031.0).verdict(&kept), different);
        assert_eq!(record(969.0).verdict(&kept), different);
    }

    #[test]
    fn a_count_that_came_or_went_is_a_difference() {
        let (kept, mut now) = (record(1000.0), record(1000.0));
        now.instructions_per_event[0].name = "render".to_owned();
        let both = vec!["render".to_owned(), "capture".to_owned()];
        assert_eq!(now.verdict(&kept), Verdict::Different(both));
    }

    #[test]
    fn what_another_compiler_made_is_not_compared() {
        let (kept, mut now) = (record(1000.0), record(2000.0));
        now.made_with.rustc = "rustc 2".to_owned();
        assert!(matches!(now.verdict(&kept), Verdict::Incomparable(_)));
    }
}
