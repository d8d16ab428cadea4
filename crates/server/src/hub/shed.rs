//! Streams that are ended for others, because what waits for them is in the way.
//!
//! Near the ceiling of memory these are the ones that hold most, of the role that holds most. Below it they are those
//! that nobody takes anything of, when another stream of their connection or of their role waits for room. They are told
//! so in their protocol's way, and may go on behind their last cursor. Protected by the hub's lock.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use event_source_model::event::{Reason, Refusal};

use super::state::State;
use super::stream::StreamId;

/// What a stream must hold to be in the way: no more than that waits for one that is taken as it comes.
const MUCH: usize = 64 * 1024;
/// How often they are looked for at most.
const OFTEN: Duration = Duration::from_millis(50);
/// Nobody waits longer for one of which nothing is taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// When they were looked for.
#[derive(Debug, Default)]
pub(super) struct Looked {
    short: Option<Instant>,
    stalled: Option<Instant>,
}

impl State {
    /// Ends the streams that hold most, until there is memory again.
    pub(super) fn shed(&mut self) {
        let shortage = self.budget.shortage();
        let now = Instant::now();
        if shortage == 0 || self.looked.short.is_some_and(|last| now < last + OFTEN) {
            return;
        }
        self.looked.short = Some(now);
        let holds = |stream: &super::stream::Stream| {
            let bytes = stream.queue.bytes();
            (bytes > MUCH).then(|| (Reverse((stream.owner.used(), bytes)), stream.id))
        };
        let mut holders: Vec<_> = self.streams.values().filter_map(holds).collect();
        holders.sort_unstable();
        // What is on its way to a socket is given back a little later.
        let mut freed = 0;
        for (Reverse((_, bytes)), id) in holders {
            if freed >= shortage {
                return;
            }
            freed += bytes;
            self.end_for_others(id);
        }
    }

    /// Ends those that are in the way of a stream that has waited long enough.
    pub(super) fn shed_stalled(&mut self, now: Instant) {
        let waits = |since: Option<Instant>| since.is_some_and(|since| since + PATIENCE <= now);
        let waiting: Vec<(usize, usize)> = self
            .streams
            .values()
            .filter(|stream| waits(stream.waits))
            .map(|stream| (stream.queue.account().id(), stream.owner.id()))
            .collect();
        let is_early = self.looked.stalled.is_some_and(|last| now < last + PATIENCE);
        if waiting.is_empty() || is_early {
            return;
        }
        self.looked.stalled = Some(now);
        // Of each connection and of each role the one that holds most.
        let mut in_the_way: HashMap<usize, (usize, StreamId)> = HashMap::new();
        for stream in self.streams.values() {
            let (bytes, is_taken) = stream.queue.look();
            if is_taken || bytes <= MUCH || stream.last_word + PATIENCE > now {
                continue;
            }
            for account in [stream.queue.account().id(), stream.owner.id()] {
                let most = in_the_way.entry(account).or_default();
                *most = (bytes, stream.id).max(*most);
            }
        }
        let of = |account| in_the_way.get(account).map(|(_, id)| *id);
        let mut ids: Vec<StreamId> = waiting
            .iter()
            .filter_map(|(connection, owner)| of(connection).or_else(|| of(owner)))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|id| self.end_for_others(id));
    }

    /// What waits for it is dropped: it is in the log.
    fn end_for_others(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(id) {
            stream.give_up(&in_the_way());
            self.remove(id);
        }
    }
}

fn in_the_way() -> Refusal {
    Refusal::new(Reason::LimitExceeded, "what waits to be read of the stream takes too much memory")
        .hint("read faster, and go on behind the last cursor; event_source.server_memory limits it")
}
