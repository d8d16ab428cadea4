//! What open streams hold: idle ones, and ones whose reader has stopped reading.

use std::time::{Duration, Instant};

use event_source_tests::wait_until;

use crate::fanout::{
    HYPER_COALESCING, NCHAN, OURS, Streams, Subject, compare, keep, memory, open, present,
};
use crate::work::{Better, Outcome, Run};

const STALLED: usize = 1000;
/// Far more than sockets and queues hold.
const EVENTS: u64 = 20_000;

pub fn measure(run: &Run) -> Outcome {
    let streams = run.pick(10_000, 2_000);
    let mut outcome = Outcome::new("Memory of an open stream", "KB", Better::Lower);
    for (at, how, limit, subjects) in [
        ("idle, 100 per connection", Streams::shared(streams), 6.0, vec![OURS, HYPER_COALESCING]),
        (
            "idle, one per connection",
            Streams::alone(streams),
            28.0,
            present(&[OURS, HYPER_COALESCING, NCHAN]),
        ),
    ] {
        let measured = compare(run, &subjects, |subject| (idle(subject, how), 0.0));
        keep(&mut outcome, &mut Vec::new(), at, measured);
        outcome.goal_at_most(format!("KB of a stream, {at}"), outcome.median(OURS, at), limit);
    }
    for (at, how) in [
        ("stalled, 100 per connection", Streams::shared(STALLED)),
        ("stalled, one per connection", Streams::alone(STALLED)),
    ] {
        let measured = compare(run, &[OURS], |subject| (stalled(subject, how), 0.0));
        keep(&mut outcome, &mut Vec::new(), at, measured);
        outcome.goal_at_most(format!("KB of a stream, {at}"), outcome.median(OURS, at), 64.0);
    }
    outcome.note(format!(
        "Resident memory of the process that is neither shared nor of a file, over {streams} idle or \
         {STALLED} stalled streams; a stalled one's reader takes nothing of {EVENTS} events, and what one of them alone makes the process hold is not counted."
    ));
    outcome
}

/// In kilobytes, as all here.
fn idle(subject: &mut dyn Subject, how: Streams) -> f64 {
    // What the first one makes the process load and keep is not the stream's.
    drop(open(subject, Streams { streams: 1, ..how }));
    let before = memory(subject);
    let readers = open(subject, how);
    let held = memory(subject).saturating_sub(before);
    drop(readers);
    held as f64 / 1024.0 / how.streams as f64
}

fn stalled(subject: &mut dyn Subject, how: Streams) -> f64 {
    // With one of them the process gets all that it keeps for the events themselves.
    let first = open(subject, Streams { streams: 1, ..how });
    let before = settled(subject);
    drop(first);
    let readers = open(subject, how);
    let held = settled(subject);
    drop(readers);
    held.saturating_sub(before) as f64 / 1024.0 / how.streams as f64
}

/// What is held when the events were published and it changes no more.
fn settled(subject: &mut dyn Subject) -> u64 {
    for _ in 0..EVENTS / 100 {
        subject.publish(100, 1);
    }
    let (mut held, mut since) = (0, Instant::now());
    wait_until("the memory of stalled streams changes no more", Duration::from_secs(60), || {
        let now = memory(subject);
        if now.abs_diff(held) > 64 * 1024 {
            (held, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    });
    held
}
