//! How long an event takes to its readers, at ten thousand deliveries a second.

use std::time::{Duration, Instant};

use crate::fanout::{
    HYPER_COALESCING, NCHAN, OURS, Streams, Subject, compare, keep, open, present, sizes,
};
use crate::work::{Better, Outcome, Run, median};

const DELIVERIES: f64 = 10_000.0;
/// What is left of that when the last event was sent comes within this.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(run: &Run) -> Outcome {
    let time = Duration::from_secs(run.pick(2, 1));
    let mut outcome =
        Outcome::new("From an event to its readers, 10,000 deliveries/s", "ms", Better::Lower);
    let mut slowest = Vec::new();
    for &(streams, text) in sizes(run) {
        let at = format!("{text} streams");
        let subjects = present(&[OURS, HYPER_COALESCING, NCHAN]);
        let measured = compare(run, &subjects, |subject| {
            let how = match subject.accept() {
                // It speaks no HTTP/2.
                Some(_) => Streams::alone(streams),
                None => Streams::shared(streams),
            };
            paced(subject, how, time)
        });
        keep(&mut outcome, &mut slowest, &at, measured);
        let over = outcome.ratio(OURS, HYPER_COALESCING, &at);
        outcome.goal_at_most(format!("p50 of {at} over hyper coalescing"), over, 1.3);
    }
    outcome.note(
        "The median over all streams and events. 100 streams on a connection of HTTP/2; nchan has one each.",
    );
    outcome.note(format!("p99, in milliseconds: {}.", slowest.join("; ")));
    outcome
}

/// The median and the 99th percentile, in milliseconds.
fn paced(subject: &mut dyn Subject, how: Streams, time: Duration) -> (f64, f64) {
    let mut readers = open(subject, how);
    let pace = Duration::from_secs_f64(how.streams as f64 / DELIVERIES);
    let (mut sent, mut took) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let due = |sent: &[Instant]| pace * sent.len() as u32;
    while start.elapsed() < time {
        if start.elapsed() >= due(&sent) {
            sent.push(Instant::now());
            subject.publish(1, 1);
        }
        let wait = due(&sent).saturating_sub(start.elapsed());
        readers.turn(wait, |number| took.push(sent[number as usize].elapsed()));
    }
    let all = sent.len() * how.streams;
    let last = Instant::now();
    while took.len() < all {
        assert!(last.elapsed() < PATIENCE, "{} of {all} events came", took.len());
        readers.turn(Duration::from_secs(10), |number| took.push(sent[number as usize].elapsed()));
    }
    let mut took: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    (median(&took), took[took.len() * 99 / 100])
}
