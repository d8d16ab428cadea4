//! What `event_source.streams` shows, statuses of quiet streams, and tokens that expire.

use std::time::{Duration, Instant};

use event_source_door::message::{StreamStatus, ToWorker};

use super::state::State;
use super::stream::{Phase, StreamId};

/// The worker is told at most this often.
const EVERY: Duration = Duration::from_secs(1);

/// Whether and when the worker was told.
#[derive(Debug, Default)]
pub(super) struct Report {
    last: Option<Instant>,
    /// A stream came or went.
    touched: bool,
    /// Events sent, over all streams, when the worker was last told.
    sent: u64,
}

impl Report {
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }
}

impl State {
    /// What time alone brings about. `now` is in microseconds since 1970.
    pub(super) fn tick(&mut self, now: i64, status_interval: Duration) {
        let over = self.streams.values().filter(|stream| stream.is_over(now));
        let over: Vec<StreamId> = over.map(|stream| stream.id).collect();
        self.end_over(over);
        self.try_again();
        self.say_statuses(status_interval);
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
        let sent = self.streams.values().map(|s| s.sent).sum();
        let due = self.report.last.is_none_or(|last| last.elapsed() >= EVERY);
        let waiting = self.outgoing.iter().any(|m| matches!(m, ToWorker::Streams(_)));
        if !due || waiting || !(self.report.touched || self.report.sent != sent) {
            return;
        }
        self.report = Report { last: Some(Instant::now()), touched: false, sent };
        let closed = self.memory.closed();
        let rows = self.streams.values().map(|stream| StreamStatus {
            id: stream.id,
            wire: stream.format.wire().to_owned(),
            source: stream.source,
            client: stream.client.clone(),
            txn_ts: match (stream.phase, closed) {
                (Phase::Live, Some(closed)) => stream.position.txn_ts.max(closed),
                _ => stream.position.txn_ts,
            },
            sent: stream.sent,
            since: stream.since,
        });
        self.outgoing.push_back(ToWorker::Streams(rows.collect()));
    }
}
