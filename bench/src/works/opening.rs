//! Opening a stream with ten thousand open, over opening the first.

use std::time::Instant;

use crate::fanout::{OURS, Streams, Subject, asked, compare, keep};
use crate::readers::Readers;
use crate::work::{Better, Outcome, Run, median, ratios};

const FIRST: &str = "the first thousand";
const LATER: &str = "with 10,000 open";
const OPEN: usize = 10_000;
/// How many are opened, one after the other, to measure.
const OPENED: usize = 1000;

pub fn measure(run: &Run) -> Outcome {
    let mut outcome = Outcome::new("Opening a stream", "us", Better::Lower);
    let measured = compare(run, &[OURS], opening);
    for (name, first, later) in measured {
        let growth = median(&ratios(&later, &first));
        outcome
            .goal_at_most("opening a stream with 10,000 open over the first", growth, 1.2)
            .because("what ten thousand streams hold does not fit into the processor's caches");
        keep(&mut outcome, &mut Vec::new(), FIRST, vec![(name, first, vec![0.0])]);
        keep(&mut outcome, &mut Vec::new(), LATER, vec![(name, later, vec![0.0])]);
    }
    outcome.note(format!(
        "{OPENED} streams one after the other, 100 on a connection; the server's worker is played, which \
         answers at once."
    ));
    outcome
}

/// Microseconds for one of the first, and for one of those behind the others.
fn opening(subject: &mut dyn Subject) -> (f64, f64) {
    let mut readers = Readers::none();
    let one_by_one = |readers: &mut Readers| {
        let how = Streams { streams: OPENED, ..Streams::shared(OPENED) };
        let start = Instant::now();
        readers.open_more_by(&asked(subject, how), 1);
        start.elapsed().as_secs_f64() * 1e6 / OPENED as f64
    };
    let first = one_by_one(&mut readers);
    readers.open_more(&asked(subject, Streams::shared(OPEN)));
    (first, one_by_one(&mut readers))
}
