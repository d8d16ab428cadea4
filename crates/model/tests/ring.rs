//! The plan of the ring, played against a made-up log.

use event_source_model::ring::{Policy, Segment, Step};
use proptest::prelude::*;

const EMPTY: Segment = Segment { bytes: 64 * 1024, span: None, stuck: false };
const MEGABYTE: u64 = 1024 * 1024;

fn policy() -> Policy {
    Policy { retention: 60_000, most_bytes: 100 * MEGABYTE }
}

#[test]
fn a_young_and_small_log_rests() {
    let mut ring = [EMPTY; 8];
    ring[0] = Segment { bytes: MEGABYTE, span: Some((1_000, 2_000)), stuck: false };
    assert_eq!(policy().next_step(&ring, 0, 3_000), Step::Rest);
}

#[test]
fn a_full_segment_is_left_for_an_empty_one() {
    let mut ring = [EMPTY; 8];
    ring[0] = Segment { bytes: 10 * MEGABYTE, span: Some((1_000, 2_000)), stuck: false };
    assert_eq!(policy().next_step(&ring, 0, 3_000), Step::WriteTo(1));
}

#[test]
fn what_is_past_the_retention_is_let_go_whatever_its_size() {
    let mut ring = [EMPTY; 8];
    ring[3] = Segment { bytes: MEGABYTE, span: Some((1_000, 2_000)), stuck: false };
    assert_eq!(policy().next_step(&ring, 0, 62_000), Step::Rest);
    let step = Step::Empty { segment: 3, early: false };
    assert_eq!(policy().next_step(&ring, 0, 62_001), step);
}

#[test]
fn the_size_lets_the_oldest_go_early_and_says_so() {
    let mut ring = [Segment { bytes: 12 * MEGABYTE, span: Some((50, 60)), stuck: false }; 8];
    ring[5].span = Some((10, 20));
    let step = Step::Empty { segment: 5, early: true };
    assert_eq!(policy().next_step(&ring, 0, 100), step);
}

#[test]
fn a_segment_that_somebody_holds_is_passed_over() {
    let mut ring = [Segment { bytes: 12 * MEGABYTE, span: Some((50, 60)), stuck: false }; 8];
    ring[5] = Segment { span: Some((10, 20)), stuck: true, ..ring[5] };
    ring[6].span = Some((30, 40));
    let step = Step::Empty { segment: 6, early: true };
    assert_eq!(policy().next_step(&ring, 0, 100), step);
    for segment in &mut ring {
        segment.stuck = true;
    }
    assert_eq!(policy().next_step(&ring, 0, 100), Step::Rest);
}

#[test]
fn what_was_only_rolled_back_is_let_go_as_well() {
    let mut ring = [EMPTY; 8];
    ring[2].bytes = 5 * MEGABYTE;
    let step = Step::Empty { segment: 2, early: false };
    assert_eq!(policy().next_step(&ring, 0, 100), step);
}

proptest! {
    /// Plays writers that fill and a keeper that does what it is told, and looks after each round.
    #[test]
    fn the_log_stays_within_its_size_and_keeps_what_is_young(
        writes in prop::collection::vec((0_u64..3 * MEGABYTE, 0_i64..3_000), 1..400),
    ) {
        let policy = policy();
        let (mut ring, mut current, mut now) = ([EMPTY; 8], 0, 1_000_000);
        let mut let_go = 0;
        for (bytes, pause) in writes {
            now += pause + 1;
            let first = ring[current].span.map_or(now, |(first, _)| first);
            ring[current].span = Some((first, now));
            ring[current].bytes += bytes;
            let total: u64 = ring.iter().map(|segment| segment.bytes).sum();
            prop_assert!(total <= policy.most_bytes, "{total} bytes");
            for round in 0.. {
                prop_assert!(round < 32, "the keeper comes to rest");
                match policy.next_step(&ring, current, now) {
                    Step::Rest => break,
                    Step::WriteTo(next) => {
                        prop_assert_ne!(next, current);
                        prop_assert!(ring[next].span.is_none());
                        current = next;
                        ring[current].span = Some((now, now));
                    }
                    Step::Empty { segment, early } => {
                        prop_assert_ne!(segment, current);
                        let (_, newest) = ring[segment].span.expect("it held something");
                        prop_assert_eq!(early, newest >= now - policy.retention);
                        // Oldest first: what is left is all younger than what went.
                        let_go = let_go.max(newest);
                        ring[segment] = EMPTY;
                    }
                }
            }
            let oldest = ring.iter().filter_map(|s| s.span.map(|(_, newest)| newest)).min();
            prop_assert!(oldest.is_none_or(|oldest| oldest >= let_go));
            prop_assert!(oldest.is_none_or(|oldest| oldest >= now - policy.retention * 2));
        }
    }
}
