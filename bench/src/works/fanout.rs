//! One source, many streams: how many events a second reach their readers.

use std::time::Duration;

use crate::fanout::{
    HYPER, HYPER_COALESCING, Load, NCHAN, OURS, Streams, compare, flood, keep, present, sizes,
};
use crate::work::{Better, Outcome, Run};

/// Enough that nobody waits for the client, few enough that nobody falls behind.
const WINDOW: u64 = 16;

pub fn measure(run: &Run) -> Outcome {
    let time = Duration::from_millis(run.pick(700, 400));
    let load = Load { window: WINDOW, together: 1, time };
    let mut outcome =
        Outcome::new("Events delivered to the streams of one source", "k/s", Better::Higher);
    let mut costs = Vec::new();
    let thousands = |(rate, cpu): (f64, f64)| (rate / 1e3, cpu);
    for &(streams, text) in sizes(run) {
        let at = format!("{text} streams, 100 per HTTP/2 connection");
        let measured = compare(run, &[OURS, HYPER, HYPER_COALESCING], |subject| {
            thousands(flood(subject, Streams::shared(streams), load))
        });
        keep(&mut outcome, &mut costs, &at, measured);
        let part = outcome.ratio(OURS, HYPER_COALESCING, &at);
        outcome.goal_at_least(format!("{at}, over hyper coalescing"), part, 0.7);
    }
    let subjects = present(&[OURS, HYPER, HYPER_COALESCING, NCHAN]);
    for &(streams, text) in sizes(run) {
        let at = format!("{text} streams, one per connection");
        let measured = compare(run, &subjects, |subject| {
            thousands(flood(subject, Streams::alone(streams), load))
        });
        keep(&mut outcome, &mut costs, &at, measured);
        for (peer, least) in [(HYPER, 0.9), (NCHAN, 1.0)] {
            if subjects.contains(&peer) {
                let part = outcome.ratio(OURS, peer, &at);
                outcome.goal_at_least(format!("{at}, over {peer}"), part, least);
            }
        }
    }
    outcome.note(format!(
        "{WINDOW} events of 400 bytes are on their way at a time, published one by one; the server's \
         worker is played. What has come together when it looks shares a frame; hyper sends one line a frame. The client has the same machine. One stream per connection is HTTP/1.1."
    ));
    outcome.note(format!("CPU of a delivery, microseconds: {}.", costs.join("; ")));
    outcome
}
