//! Composes one transaction out of what the menu offers; everything it chooses comes from the
//! session's seed, so that the same seed composes the same statements, whatever became of them.

use rand::RngExt as _;
use rand::rngs::SmallRng;

/// What a session does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sent as one query; what is in it outside a transaction block is one transaction.
    Run(String),
    /// Has to fail with this SQLSTATE.
    Fails(&'static str, String),
    Copy {
        into: &'static str,
        rows: String,
    },
}

#[derive(Debug)]
pub(crate) struct Composer<'a> {
    random: &'a mut SmallRng,
    /// Unique in the run.
    pub serial: u64,
    sql: String,
    steps: Vec<Step>,
}

impl<'a> Composer<'a> {
    pub(crate) fn new(random: &'a mut SmallRng, serial: u64) -> Self {
        Self { random, serial, sql: String::new(), steps: Vec::new() }
    }

    /// Appends a statement to what is sent next.
    pub(crate) fn sql(&mut self, statement: impl AsRef<str>) {
        self.sql.push_str(statement.as_ref());
        self.sql.push_str(";\n");
    }

    /// Sends what there is; what comes next is sent on its own.
    pub(crate) fn send(&mut self) {
        if !self.sql.is_empty() {
            self.steps.push(Step::Run(std::mem::take(&mut self.sql)));
        }
    }

    pub(crate) fn fails(&mut self, code: &'static str, statement: impl Into<String>) {
        self.send();
        self.steps.push(Step::Fails(code, statement.into()));
    }

    pub(crate) fn copy(&mut self, into: &'static str, rows: String) {
        self.send();
        self.steps.push(Step::Copy { into, rows });
    }

    pub(crate) fn finish(mut self) -> Vec<Step> {
        self.send();
        self.steps
    }

    pub(crate) fn below(&mut self, end: i32) -> i32 {
        self.random.random_range(0..end)
    }

    pub(crate) fn between(&mut self, first: i32, last: i32) -> i32 {
        self.random.random_range(first..=last)
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())]
    }
}
