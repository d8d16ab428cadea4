//! Which source has had its share of a worker's time.

use std::time::{Duration, Instant};

use event_source_pace::account::{Accounts, Empty, Payer, Rates};
use proptest::prelude::*;

const RATES: Rates =
    Rates { source: Some(Duration::from_millis(100)), role: Some(Duration::from_millis(200)) };

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn payer(role: u32, source: u64) -> Payer {
    Payer { role, source }
}

#[test]
fn a_source_that_has_used_its_share_is_refused_until_it_has_some_again() {
    let (mut accounts, now) = (Accounts::default(), Instant::now());
    accounts.charge(payer(1, 1), RATES, ms(150), now);
    assert_eq!(accounts.left(payer(1, 1), RATES, now), Err(Empty::Source));
    assert_eq!(accounts.left(payer(1, 1), RATES, now + ms(490)), Err(Empty::Source));
    assert!(accounts.left(payer(1, 1), RATES, now + ms(510)).is_ok());
}

#[test]
fn the_dearest_source_of_a_role_is_refused_and_the_others_go_on() {
    let (mut accounts, now) = (Accounts::default(), Instant::now());
    for source in 1..=4 {
        accounts.charge(payer(1, source), RATES, ms(40 + source), now);
    }
    assert!(accounts.left(payer(1, 1), RATES, now).is_ok(), "190 ms of 200");
    accounts.charge(payer(1, 5), RATES, ms(60), now);
    assert_eq!(accounts.left(payer(1, 5), RATES, now), Err(Empty::Role));
    for source in 1..=4 {
        assert_eq!(accounts.left(payer(1, source), RATES, now), Ok(Some(Duration::ZERO)));
    }
    assert_eq!(
        accounts.left(payer(2, 1), RATES, now),
        Ok(RATES.role),
        "another role's time is its own"
    );
}

#[test]
fn without_rates_nobody_is_refused() {
    let (mut accounts, now) = (Accounts::default(), Instant::now());
    let rates = Rates { source: None, role: None };
    accounts.charge(payer(1, 1), rates, ms(1_000_000), now);
    assert_eq!(accounts.left(payer(1, 1), rates, now), Ok(None));
}

#[test]
fn accounts_that_are_full_again_are_forgotten() {
    let (mut accounts, now) = (Accounts::default(), Instant::now());
    for source in 0..5_000_u64 {
        accounts.charge(payer(source as u32 % 7, source), RATES, ms(1), now + ms(source * 20));
    }
    assert!(accounts.len() < 1_500, "{}", accounts.len());
}

proptest! {
    /// Over any time, a source that asks before each run gets no more than its rate, a second's worth and the
    /// last run.
    #[test]
    fn nobody_gets_more_than_the_rate(costs in proptest::collection::vec((0_u64..120, 0_u64..300), 1..200)) {
        let (mut accounts, begun) = (Accounts::default(), Instant::now());
        let (mut now, mut total, mut longest) = (begun, 0, 0);
        for (cost, pause) in costs {
            if accounts.left(payer(1, 1), RATES, now).is_ok() {
                accounts.charge(payer(1, 1), RATES, ms(cost), now);
                total += cost;
                longest = longest.max(cost);
            }
            now += ms(pause);
        }
        let elapsed = (now - begun).as_millis() as u64;
        prop_assert!(total <= elapsed / 10 + 100 + longest, "{total} ms in {elapsed} ms");
    }
}
