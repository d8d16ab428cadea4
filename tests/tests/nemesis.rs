//! The nemesis: a weighted random machine of everything that PostgreSQL can do to rows and tables,
//! against a real cluster whose sessions, worker and server are ended meanwhile.
//!
//! Forty followers by all transports rebuild thirteen tables from events alone; some join again and
//! again, with the rows of that moment. Each checks the
//! order of every row's events, that every old image is the one that the events so far make, that
//! transactions come whole; at quiet points each copy has to equal its table, and all followers of a
//! table have to have seen one sequence.
//!
//! `NEMESIS_SEED` chooses what the sessions do: the same seed composes the same statements for each of
//! them, in the same order. What these do to each other is PostgreSQL's scheduling and cannot be
//! replayed. `NEMESIS_SECONDS` is how long it runs; everything on the menu is done in any case.
//! `NEMESIS_KINDS="insert;truncate"` leaves only these on the menu, to find out what a fault needs.

mod collections;
mod composer;
mod coverage;
mod definition;
mod disturber;
mod menu;
mod postmortem;
mod rows;
mod run;
mod session;
mod tables;
mod transactions;

use std::time::{Duration, Instant};

use run::Run;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed and the coverage are what it is run for")]
fn followers_rebuild_every_table_whatever_happens() {
    let seed = number("NEMESIS_SEED").unwrap_or(1);
    let seconds = number("NEMESIS_SECONDS").unwrap_or(30);
    println!("nemesis: NEMESIS_SEED={seed} NEMESIS_SECONDS={seconds}");
    let time = Duration::from_secs(seconds);
    let start = Instant::now();
    let epoch = Duration::from_secs(5).max(time / 60);
    let run = Run { seed, time, epoch, control: None };
    let (coverage, found) = run.check();
    println!("{}", coverage.table());
    let events = found.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    let (done, took) = (coverage.done(), start.elapsed());
    println!("nemesis: seed {seed}: {done} done, {events} events seen, {took:.0?}");
    let missing = coverage.missing();
    assert!(missing.is_empty(), "seed {seed}: never done: {missing:?}");
}

/// The two faults that the order test is proved by: whatever else goes on, the nemesis has to see them.
#[test]
fn a_fault_is_found_among_everything_else() {
    for control in ["closed_is_last", "fired_order"] {
        let (time, epoch) = (Duration::from_secs(60), Duration::from_secs(3));
        let run = Run { seed: 1, time, epoch, control: Some(control) };
        let (_coverage, found) = run.check();
        let why = found.expect_err("the fault is found");
        // A finding about events and rows; that a client failed would prove nothing.
        let finding = ["Prev {", "Rows {", "Position {", "Sequence {", "Transaction {"];
        assert!(finding.iter().any(|kind| why.contains(kind)), "{control}: {why}");
    }
}
