//! A table of measurements beside the first of their group.

use std::fmt::Write as _;

/// Rows of a name and a value; the first of a group is what the group's others are compared with.
#[derive(Debug)]
pub(crate) struct Table {
    title: &'static str,
    unit: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    value: f64,
    /// What it is compared with.
    first: f64,
}

impl Table {
    pub(crate) fn new(title: &'static str, unit: &'static str) -> Self {
        Self { title, unit, rows: Vec::new() }
    }

    /// Adds a group: of each row the least of what was measured, which the rest of the machine
    /// disturbed the least.
    pub(crate) fn group(&mut self, rows: impl IntoIterator<Item = (String, Vec<f64>)>) {
        let mut first = None;
        for (name, measured) in rows {
            let value = measured.into_iter().fold(f64::INFINITY, f64::min);
            let first = *first.get_or_insert(value);
            self.rows.push(Row { name, value, first });
        }
    }

    #[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
    pub(crate) fn print(&self) {
        let mut text = format!("\n{}\n{:<58}{:>12}{:>8}\n", self.title, "", self.unit, "ratio");
        for Row { name, value, first } in &self.rows {
            writeln!(text, "{name:<58}{value:>12.1}{:>8.2}", value / first)
                .expect("a String takes all");
        }
        println!("{text}");
    }
}
