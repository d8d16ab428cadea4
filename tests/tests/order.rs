//! The order test: whatever concurrent transactions do, every follower rebuilds the table exactly,
//! and all of them see one order.
//!
//! Against real clusters, from outside. `ORDER_TRANSACTIONS` sets how many transactions commit in
//! the large run, `ORDER_SEED` what they are. That these checks can fail is shown by
//! `order_controls.rs`.

pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod workload;

use event_source_tests::consume::latency::commit_to_client;
use event_source_tests::{Build, Cluster};
use run::{Report, Run, Shape};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}"))
    })
}

#[track_caller]
fn follow(shape: Shape, transactions: u64) {
    let seed = number("ORDER_SEED", 1);
    let run = Run { build: Build::Release, shape, transactions, seed, control: None };
    let Report { committed, events } =
        run.check().unwrap_or_else(|fault| panic!("seed {seed}, {shape:?}: {fault:#?}"));
    assert!(committed >= transactions, "only {committed} transactions committed");
    // A run that changed next to nothing would prove next to nothing.
    assert!(events > transactions, "only {events} events in {committed} transactions");
}

#[test]
fn three_followers_rebuild_the_table_and_see_one_order() {
    follow(Shape::Plain, number("ORDER_TRANSACTIONS", 100_000));
}

#[test]
fn three_followers_rebuild_a_partitioned_table() {
    follow(Shape::Partitioned, number("ORDER_TRANSACTIONS", 100_000) / 10);
}

#[test]
fn three_followers_rebuild_a_table_without_a_primary_key_as_a_bag() {
    follow(Shape::Keyless, number("ORDER_TRANSACTIONS", 100_000) / 10);
}

#[test]
fn a_writer_that_stays_open_delays_nobody() {
    // Each of these commits is told before the writer ends, or they would be waited for in vain; and as soon
    // as without it. A delay by the open writer would be there every time; one of the machine's is not.
    let [beside, without] = [true, false].map(|open_writer| {
        let spreads = (0..3).map(|_| commit_to_client(&Cluster::start(), 1000, open_writer));
        spreads.min_by_key(|spread| spread.p99).expect("there are three")
    });
    assert!(beside.p99 < 5 * without.p99, "beside an open writer {beside:?}, without {without:?}");
}
