//! `bench/results`: what the last run of each work found, a file a work.

use std::fs;
use std::path::PathBuf;

use event_source_tests::private::checkout;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::work::Outcome;

/// The result of a work, with all that is needed to judge it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    pub work: String,
    pub title: String,
    pub quick: bool,
    pub machine: Machine,
    pub outcome: Outcome,
}

fn path(work: &str) -> PathBuf {
    checkout().join(format!("bench/results/{work}.json"))
}

impl Record {
    /// # Panics
    /// When the file cannot be written.
    pub fn keep(&self) {
        let path = path(&self.work);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder is made");
        let text = serde_json::to_string_pretty(self).expect("it has no map with odd keys");
        fs::write(path, text + "\n").expect("a result can be written");
    }

    /// What is kept of a work, if it ever ran here.
    ///
    /// # Panics
    /// When the file is not what [`Record::keep`] writes.
    #[must_use]
    pub fn last(work: &str) -> Option<Self> {
        let text = match fs::read_to_string(path(work)) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(e) => panic!("{}: {e}", path(work).display()),
        };
        Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{work}: {e}")))
    }
}
