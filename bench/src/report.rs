//! Results as text: a section of `docs/benchmarks.md` for each work, and a line for each goal.
//!
//! Only what stands between the two marks of the page is written; the words around it are written
//! by hand.

use std::fmt::Write as _;
use std::fs;

use event_source_tests::private::checkout;

use crate::plot;
use crate::results::Record;
use crate::work::{Better, Goal, Outcome, Reached};

const PAGE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- what follows is written by make bench -->\n";
const END: &str = "<!-- until here -->\n";

/// Writes the page and its plots.
///
/// # Panics
/// When a file cannot be written, or the page has lost its marks.
pub fn write(records: &[Record]) {
    let folder = checkout().join("docs/benchmarks");
    fs::create_dir_all(&folder).expect("a folder can be made");
    for record in records {
        plot::write(&folder.join(format!("{}.svg", record.work)), &record.outcome);
    }
    let path = checkout().join(PAGE);
    let page = fs::read_to_string(&path).expect("the page is there");
    let (head, rest) = page.split_once(BEGIN).expect("the page has its first mark");
    let (_, tail) = rest.split_once(END).expect("the page has its last mark");
    let mut body = goals(records);
    for record in records {
        let Record { work, title, outcome, .. } = record;
        write!(body, "\n## {title}\n\n![{}](benchmarks/{work}.svg)\n\n", outcome.title)
            .expect("a String takes all");
        body.push_str(&section(record));
    }
    fs::write(path, format!("{head}{BEGIN}\n{body}\n{END}{tail}"))
        .expect("the page can be written");
}

/// All goals at a glance, and what the profiles say of those that are missed.
fn goals(records: &[Record]) -> String {
    let mut text = "## Goals\n\n| work | goal | measured | |\n|---|---|---|---|\n".to_owned();
    for record in records {
        for goal in &record.outcome.goals {
            writeln!(
                text,
                "| {} | {} {} {} | {} | {} |",
                record.work,
                goal.text,
                if goal.at_most { "at most" } else { "at least" },
                number(goal.limit),
                number(goal.value),
                reached(goal),
            )
            .expect("a String takes all");
        }
    }
    text.push_str("\nWhat is known of the rest, most of it by profiles:\n\n");
    for record in records {
        let said = record.outcome.goals.iter().filter_map(|goal| goal.why.as_deref());
        for why in unique(said) {
            let of = record.outcome.goals.iter().filter(|goal| goal.why.as_deref() == Some(why));
            let of: Vec<&str> = of.map(|goal| goal.text.as_str()).collect();
            writeln!(text, "- `{}` ({}): {why}.", record.work, of.join("; "))
                .expect("a String takes all");
        }
    }
    text
}

fn reached(goal: &Goal) -> &'static str {
    match goal.reached() {
        Reached::Met => "met",
        Reached::Nearly => "missed by less than 10 %",
        Reached::Missed => "**missed**",
    }
}

/// A work's table: a row a subject, a column a situation, medians with their spread.
#[must_use]
pub fn section(record: &Record) -> String {
    let Outcome { title, unit, better, series, notes, .. } = &record.outcome;
    let machine = &record.machine;
    let situations = unique(series.iter().map(|series| series.at.as_str()));
    let subjects = unique(series.iter().map(|series| series.subject.as_str()));
    let mut text = format!(
        "`{}`: {title}, in {unit}; {} is better.\n\n| |",
        record.work,
        match better {
            Better::Lower => "lower",
            Better::Higher => "higher",
        }
    );
    let mut rule = "|---|".to_owned();
    for at in &situations {
        write!(text, " {at} |").expect("a String takes all");
        rule.push_str("---:|");
    }
    text = text + "\n" + &rule + "\n";
    for subject in subjects {
        write!(text, "| {subject} |").expect("a String takes all");
        for at in &situations {
            let cell = series.iter().find(|series| series.subject == subject && series.at == *at);
            match cell {
                Some(series) if series.samples.len() > 1 => {
                    let (median, spread) = (number(series.median()), series.spread() * 100.0);
                    write!(text, " {median} ±{:.0} % |", spread / 2.0)
                }
                Some(series) => write!(text, " {} |", number(series.median())),
                None => write!(text, " |"),
            }
            .expect("a String takes all");
        }
        text.push('\n');
    }
    text.push('\n');
    for note in notes {
        writeln!(text, "- {note}").expect("a String takes all");
    }
    let rounds = series.iter().map(|series| series.samples.len()).max().unwrap_or_default();
    writeln!(
        text,
        "- {}, {} cores of {}, {}, PostgreSQL {}, a flush of the disk takes {:.2} ms; medians of {rounds}{}.",
        machine.date,
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.postgresql,
        machine.flush,
        if record.quick { ", short form" } else { "" },
    )
    .expect("a String takes all");
    text
}

/// Each once, in the order of their first.
pub(crate) fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept = Vec::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

/// Three digits that count, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 || v == 0.0 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let mut grouped = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !part.is_empty() {
        grouped.push('.');
        grouped.push_str(part);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits_that_count() {
        let shown = [0.0, 0.1234, 1.0, 9.999, 12.34, 999.6, 1_234_567.8, -0.5, -1234.0].map(number);
        assert_eq!(
            shown,
            ["0", "0.123", "1.00", "10.0", "12.3", "1,000", "1,234,568", "-0.500", "-1,234"]
        );
    }
}
