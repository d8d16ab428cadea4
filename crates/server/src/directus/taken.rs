//! When the next message may leave: after the client has taken the one before.
//!
//! Of two messages that reach Node in one piece its SDK drops the second. So a ping with a number of its own goes
//! after each message, and the next message waits for that pong. A client on a busy machine may take a second to
//! answer; a client that leaves a ping unanswered is taken for one that answers none, until it does.
//!
//! It runs in the task of its connection, and only compares instants: the connection waits.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// For a client that answers pings, or had none to answer yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// For a client that left one unanswered.
const REST: Duration = Duration::from_millis(50);

/// Whether the client has taken what was sent last.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Of the last message.
    number: u64,
    /// Until when its pong is waited for; `None` once it has come.
    until: Option<Instant>,
    is_mute: bool,
}

impl Taken {
    /// A message is about to be sent: what its ping carries.
    pub(super) fn ask(&mut self, now: Instant) -> Bytes {
        self.number += 1;
        self.until = Some(now + if self.is_mute { REST } else { PATIENCE });
        Bytes::copy_from_slice(&self.number.to_be_bytes())
    }

    /// A pong has come; one of an earlier message says nothing about the last one.
    pub(super) fn answered(&mut self, carries: &[u8]) {
        self.is_mute = false;
        if carries == self.number.to_be_bytes() {
            self.until = None;
        }
    }

    /// Until when the next message must wait; `None` when it may leave now.
    pub(super) fn waits(&mut self, now: Instant) -> Option<Instant> {
        let until = self.until?;
        if until > now {
            return Some(until);
        }
        self.is_mute = true;
        self.until = None;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn a_message_waits_for_the_pong_of_the_one_before() {
        let (mut taken, now) = (Taken::default(), Instant::now());
        assert_eq!(taken.waits(now), None, "nothing was sent yet");
        let ping = taken.ask(now);
        assert_eq!(taken.waits(now + PATIENCE - MOMENT), Some(now + PATIENCE));
        taken.answered(&ping);
        assert_eq!(taken.waits(now), None);
    }

    #[test]
    fn a_pong_that_comes_late_is_not_that_of_the_next_message() {
        let (mut taken, now) = (Taken::default(), Instant::now());
        let late = taken.ask(now);
        assert_eq!(taken.waits(now + PATIENCE), None);
        let next = taken.ask(now + PATIENCE);
        taken.answered(&late);
        assert!(taken.waits(now + PATIENCE).is_some());
        taken.answered(&next);
        assert_eq!(taken.waits(now + PATIENCE), None);
    }

    #[test]
    fn a_client_that_answers_no_ping_is_waited_for_once_and_then_only_rested_for() {
        let (mut taken, mut now) = (Taken::default(), Instant::now());
        let _unanswered = taken.ask(now);
        now += PATIENCE;
        assert_eq!(taken.waits(now), None);
        let first = taken.ask(now);
        assert_eq!(taken.waits(now), Some(now + REST));
        taken.answered(&first);
        let _second = taken.ask(now);
        assert_eq!(taken.waits(now), Some(now + PATIENCE), "it answers after all");
    }
}
