//! What is measured, and what a measurement gives.
//!
//! A work compares subjects with each other: all of them in the same run, by turns
//! ([`crate::turns`]), so that a ratio of two samples of one round means something wherever it
//! runs. It panics when a subject that delivers events missed one or gave one twice.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// One line of the list in `main.rs`.
#[derive(Debug)]
pub struct Work {
    /// What `bench/run NAME` takes, and the name of the files of its results.
    pub name: &'static str,
    pub title: &'static str,
    pub measure: fn(&Run) -> Outcome,
}

/// What a work may know about the run that it is part of.
#[derive(Debug)]
pub struct Run {
    /// The short form: all subjects, fewer and shorter rounds.
    pub quick: bool,
    pub machine: Machine,
}

impl Run {
    /// How often each subject is measured.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.pick(5, 3)
    }

    #[must_use]
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What a work found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What the samples are, as the caption of a plot.
    pub title: String,
    pub unit: String,
    pub better: Better,
    pub series: Vec<Series>,
    pub goals: Vec<Goal>,
    /// What a reader has to know to read the numbers; a sentence each.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

/// The measurements of one subject in one situation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Who: `event_source`, `nchan`, ..
    pub subject: String,
    /// In what situation: `1,000 streams`.
    pub at: String,
    pub samples: Vec<f64>,
}

/// What was to be reached. One that is missed stays in sight.
#[derive(Debug, Serialize, Deserialize)]
pub struct Goal {
    pub text: String,
    pub value: f64,
    pub limit: f64,
    /// Whether the limit is the most that is good, or the least.
    pub at_most: bool,
    /// What is known of the rest, if it is missed.
    pub why: Option<String>,
}

/// How near a goal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    Met,
    /// Missed by a tenth of the limit at most.
    Nearly,
    Missed,
}

impl Outcome {
    pub fn new(title: impl Into<String>, unit: impl Into<String>, better: Better) -> Self {
        Self {
            title: title.into(),
            unit: unit.into(),
            better,
            series: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn add(&mut self, subject: impl Into<String>, at: impl Into<String>, samples: Vec<f64>) {
        self.series.push(Series { subject: subject.into(), at: at.into(), samples });
    }

    /// The median of what was measured of a subject.
    ///
    /// # Panics
    /// When nothing was.
    #[must_use]
    pub fn median(&self, subject: &str, at: &str) -> f64 {
        self.of(subject, at).median()
    }

    /// The median of a subject's ratios to another one, round by round.
    ///
    /// # Panics
    /// When one of them was not measured.
    #[must_use]
    pub fn ratio(&self, subject: &str, to: &str, at: &str) -> f64 {
        median(&ratios(&self.of(subject, at).samples, &self.of(to, at).samples))
    }

    fn of(&self, subject: &str, at: &str) -> &Series {
        self.series
            .iter()
            .find(|series| series.subject == subject && series.at == at)
            .unwrap_or_else(|| panic!("{subject:?} was not measured at {at:?}"))
    }

    pub fn goal_at_most(&mut self, text: impl Into<String>, value: f64, limit: f64) -> &mut Goal {
        self.goal(Goal { text: text.into(), value, limit, at_most: true, why: None })
    }

    pub fn goal_at_least(&mut self, text: impl Into<String>, value: f64, limit: f64) -> &mut Goal {
        self.goal(Goal { text: text.into(), value, limit, at_most: false, why: None })
    }

    fn goal(&mut self, goal: Goal) -> &mut Goal {
        self.goals.push(goal);
        self.goals.last_mut().expect("it was just added")
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl Series {
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.samples)
    }

    #[must_use]
    pub fn least(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    #[must_use]
    pub fn most(&self) -> f64 {
        self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// How far the samples lie apart, as a part of their median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let median = self.median();
        if median == 0.0 { 0.0 } else { (self.most() - self.least()) / median.abs() }
    }
}

impl Goal {
    /// What is known of the rest, for the case that it is missed.
    pub fn because(&mut self, why: &str) {
        if self.reached() != Reached::Met {
            self.why = Some(why.to_owned());
        }
    }

    #[must_use]
    pub fn reached(&self) -> Reached {
        let (missed_by, near) = if self.at_most {
            (self.value - self.limit, self.limit.abs() * 0.1)
        } else {
            (self.limit - self.value, self.limit.abs() * 0.1)
        };
        if missed_by <= 0.0 {
            Reached::Met
        } else if missed_by <= near {
            Reached::Nearly
        } else {
            Reached::Missed
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    assert!(!samples.is_empty(), "nothing was measured");
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    f64::midpoint(sorted[lower], sorted[upper])
}

/// The ratios of two subjects, round by round.
#[must_use]
pub fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn only_a_goal_that_is_missed_says_why() {
        let mut outcome = Outcome::new("", "", Better::Lower);
        outcome.goal_at_most("", 1.0, 1.0).because("it is met");
        outcome.goal_at_most("", 1.1, 1.0).because("of this");
        assert_eq!(outcome.goals[0].why, None);
        assert_eq!(outcome.goals[1].why.as_deref(), Some("of this"));
    }

    #[test]
    fn a_goal_that_is_nearly_met_is_not_met() {
        let goal =
            |value, limit, at_most| Goal { text: String::new(), value, limit, at_most, why: None };
        assert_eq!(goal(1.15, 1.15, true).reached(), Reached::Met);
        assert_eq!(goal(1.2, 1.15, true).reached(), Reached::Nearly);
        assert_eq!(goal(1.3, 1.15, true).reached(), Reached::Missed);
        assert_eq!(goal(701.0, 700.0, false).reached(), Reached::Met);
        assert_eq!(goal(650.0, 700.0, false).reached(), Reached::Nearly);
        assert_eq!(goal(600.0, 700.0, false).reached(), Reached::Missed);
    }
}
