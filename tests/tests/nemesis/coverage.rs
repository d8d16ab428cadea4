//! What of the menu was done, and what became of it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The transaction was rolled back on purpose.
    RolledBack,
    /// There was nothing to do just then.
    Idle,
    /// Another session was quicker, or somebody ended the session.
    Lost,
}

/// One line: how often each outcome was seen.
#[derive(Debug)]
pub(crate) struct Line {
    name: &'static str,
    off: bool,
    counts: [AtomicU64; 4],
}

impl Line {
    pub(crate) fn new(name: &'static str, off: bool) -> Self {
        Self { name, off, counts: Default::default() }
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize].load(Ordering::Relaxed)
    }
}

/// The table printed at the end.
#[derive(Debug)]
pub(crate) struct Coverage {
    /// One line for each entry of the menu.
    pub kinds: Vec<Line>,
    /// One line for each way to disturb.
    pub faults: Vec<Line>,
}

impl Coverage {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.kinds.iter().chain(&self.faults)
    }

    /// What is on and was never done with success.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let never = |line: &&Line| !line.off && line.of(Outcome::Done) == 0;
        self.lines().filter(never).map(|line| line.name).collect()
    }

    pub(crate) fn done(&self) -> u64 {
        self.lines().map(|line| line.of(Outcome::Done)).sum()
    }

    pub(crate) fn table(&self) -> String {
        let mut out =
            format!("{:<36}{:>9}{:>9}{:>9}{:>9}\n", "kind", "done", "undone", "idle", "lost");
        for line in self.lines() {
            let [done, undone, idle, lost] =
                [Outcome::Done, Outcome::RolledBack, Outcome::Idle, Outcome::Lost]
                    .map(|outcome| line.of(outcome));
            let off = if line.off { "  off: not supported" } else { "" };
            writeln!(out, "{:<36}{done:>9}{undone:>9}{idle:>9}{lost:>9}{off}", line.name)
                .expect("a String takes all");
        }
        out
    }
}
