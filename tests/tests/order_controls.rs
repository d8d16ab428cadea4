//! The order test can fail: with either of two faults switched on, its checks find it.
//!
//! The faults exist only in the build with feature `controls`: `closed_is_last` publishes up to the
//! clock instead of the closed timestamp, `fired_order` folds a transaction's changes in the order
//! in which triggers fired. The same build without a fault is sound, so that it is the fault and
//! not the build that is found.

use crate::order::run::{Disorder, Report, Run, Shape};
use event_source_tests::Build;

const TRANSACTIONS: u64 = 20_000;

fn run(control: Option<&'static str>) -> Result<Report, Disorder> {
    Run {
        build: Build::Controls,
        shape: Shape::Plain,
        transactions: TRANSACTIONS,
        seed: 1,
        control,
    }
    .check()
}

/// A finding about order; that a client failed would prove nothing.
#[track_caller]
fn assert_found(control: &'static str) {
    match run(Some(control)) {
        Ok(report) => panic!("nobody noticed {control}: {report:?}"),
        Err(Disorder::Client(why)) => panic!("{control} showed as a failure only: {why}"),
        Err(
            Disorder::Prev { .. }
            | Disorder::Position { .. }
            | Disorder::Transaction { .. }
            | Disorder::Rows { .. }
            | Disorder::Sequence { .. }
            | Disorder::Silence { .. },
        ) => {}
    }
}

#[test]
fn publishing_up_to_the_clock_is_found() {
    assert_found("closed_is_last");
}

#[test]
fn folding_in_the_order_of_triggers_is_found() {
    assert_found("fired_order");
}

#[test]
fn without_a_fault_the_same_build_is_sound() {
    let report = run(None).unwrap_or_else(|fault| panic!("{fault:#?}"));
    assert!(report.committed >= TRANSACTIONS && report.events > TRANSACTIONS, "{report:?}");
}
