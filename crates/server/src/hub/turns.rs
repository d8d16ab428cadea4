//! Which streams of a connection the log is read for: a few at a time, so that what comes for them finds room.
//!
//! Protected by the hub's lock.

use std::collections::{HashMap, VecDeque};

use super::stream::StreamId;

/// Reads of a connection that are under way at a time. The worker does one after the other.
const AT_A_TIME: usize = 16;

/// By the account of the connection.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<usize, Turn>);

#[derive(Debug, Default)]
struct Turn {
    under_way: usize,
    waiting: VecDeque<StreamId>,
}

impl Turns {
    /// Whether a read may begin now; then [`Turns::end`] ends it.
    pub(super) fn begin(&mut self, connection: usize) -> bool {
        let turn = self.0.entry(connection).or_default();
        let may = turn.under_way < AT_A_TIME;
        turn.under_way += usize::from(may);
        may
    }

    pub(super) fn end(&mut self, connection: usize) {
        if let Some(turn) = self.0.get_mut(&connection) {
            turn.under_way = turn.under_way.saturating_sub(1);
        }
        self.tidy(connection);
    }

    /// A stream waits for its turn.
    pub(super) fn wait(&mut self, connection: usize, stream: StreamId) {
        self.0.entry(connection).or_default().waiting.push_back(stream);
    }

    /// The one that waits longest, if it may begin.
    pub(super) fn next(&mut self, connection: usize) -> Option<StreamId> {
        let turn = self.0.get_mut(&connection).filter(|turn| turn.under_way < AT_A_TIME)?;
        let next = turn.waiting.pop_front();
        self.tidy(connection);
        next
    }

    fn tidy(&mut self, connection: usize) {
        let is_over = |turn: &Turn| turn.under_way == 0 && turn.waiting.is_empty();
        if self.0.get(&connection).is_some_and(is_over) {
            self.0.remove(&connection);
        }
    }
}
