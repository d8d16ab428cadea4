//! The crash matrix: whatever is killed, at whatever moment, no client has seen what is not in the
//! table afterwards, and nothing is in the table that clients do not see.
//!
//! Rounds of load and crash on one cluster, followed all the while by clients that know only their
//! cursors. Half of the transactions commit with `synchronous_commit` off, and WAL is kept back as
//! long as PostgreSQL can: the crash takes acknowledged ones back, which is their bargain, but none
//! that a client has seen. `CRASH_ROUNDS` sets how many rounds, `CRASH_SEED` what they are.

mod run;
mod strike;
mod writer;

use std::time::Instant;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}"))
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "what was killed how often is what it is run for")]
fn a_crash_takes_back_nothing_that_was_seen_and_hides_nothing_that_is_there() {
    let rounds = number("CRASH_ROUNDS", strike::STRIKES.len() as u64);
    let seed = number("CRASH_SEED", 1);
    println!("crash matrix: CRASH_SEED={seed} CRASH_ROUNDS={rounds}");
    let start = Instant::now();
    let report = run::run(seed, rounds);
    println!("{report}");
    println!("crash matrix: seed {seed}: {rounds} rounds in {:.0?}", start.elapsed());
    assert!(report.committed > rounds * 20, "seed {seed}: next to nothing was written");
}
