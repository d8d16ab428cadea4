//! Events that arrive together share a frame.

use std::time::Duration;

use crate::fanout::{HYPER_COALESCING, Load, OURS, Streams, WHOLE, compare, flood, keep};
use crate::work::{Better, Outcome, Run};

const TOGETHER: u64 = 40;
const AT: &str = "100 streams, 40 events together";

pub fn measure(run: &Run) -> Outcome {
    let load = Load {
        window: 5 * TOGETHER,
        together: TOGETHER,
        time: Duration::from_millis(run.pick(1500, 600)),
    };
    let mut outcome = Outcome::new("Events that arrive together", "k/s", Better::Higher);
    let mut costs = Vec::new();
    let measured = compare(run, &[OURS, HYPER_COALESCING, WHOLE], |subject| {
        let (rate, cpu) = flood(subject, Streams::shared(100), load);
        (rate / 1e3, cpu)
    });
    keep(&mut outcome, &mut costs, AT, measured);
    let rate = outcome.median(OURS, AT);
    outcome.goal_at_least("thousands of events a second to 100 streams", rate, 2000.0);
    outcome.note(format!(
        "{WHOLE}: {TOGETHER} rows of 400 bytes in each transaction of one writer, from the INSERT to the client; \
         the pace is the writer's. The others have their events in memory."
    ));
    outcome.note(format!("CPU of a delivery, microseconds: {}.", costs.join("; ")));
    outcome
}
