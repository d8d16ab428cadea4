//! What time alone brings about: statuses of quiet streams, tokens that expire, and the worker's count.

use std::time::{Duration, Instant};

use event_source_door::message::ToWorker;

use super::state::State;
use super::stream::{Phase, StreamId};

/// The worker is told at most this often.
const EVERY: Duration = Duration::from_secs(1);

/// When the worker was told how many streams there are, and what.
#[derive(Debug, Default)]
pub(super) struct Report {
    last: Option<(Instant, u32)>,
}

impl State {
    /// What time alone brings about. `now` is in microseconds since 1970.
    pub(super) fn tick(&mut self, now: i64, status_interval: Duration) {
        let over = self.streams.values().filter(|stream| stream.is_over(now));
        let over: Vec<StreamId> = over.map(|stream| stream.id).collect();
        self.end_over(over);
        self.try_again();
        self.shed_stalled(Instant::now());
        self.say_statuses(status_interval);
        self.stop_following(Instant::now());
        self.tell_worker();
    }

    /// A quiet stream hears where it is: its cursor must not grow old while nothing happens.
    fn say_statuses(&mut self, interval: Duration) {
        let end = self.memory.end().cloned();
        for stream in self.streams.values_mut() {
            if stream.last_word.elapsed() < interval || !stream.queue.is_empty() {
                continue;
            }
            if let (Phase::Live, Some(end)) = (stream.phase, &end) {
                stream.advance(end.clone());
            }
            stream.say_status(self.looked_at.get(&stream.collection));
        }
    }

    fn tell_worker(&mut self) {
        let open = self.streams.len() as u32;
        let is_due =
            self.report.last.is_none_or(|(last, told)| told != open && last.elapsed() >= EVERY);
        if is_due {
            self.report.last = Some((Instant::now(), open));
            // A worker that is busy reads the newest count only.
            self.outgoing.take_back(|message| matches!(message, ToWorker::Streams(_)));
            self.outgoing.tell(ToWorker::Streams(open));
        }
    }
}
