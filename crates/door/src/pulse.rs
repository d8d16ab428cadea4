//! Whether the other side is still there: it is asked when nothing was heard of it for a while, and given up when it does
//! not answer.
//!
//! A process that hangs, or that was stopped, keeps its end of the pair open: only a question tells. It reads no clock.

use std::time::{Duration, Instant};

/// After this much silence it is asked.
const SILENCE: Duration = Duration::from_secs(2);
/// An answer that takes longer is late: nobody should say that all is well.
const LATE: Duration = Duration::from_secs(2);
/// Without an answer by then it is given up. A busy machine answers within a second; a message of a gigabyte takes its
/// reader some.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The signs of life of the other side.
#[derive(Debug)]
pub struct Pulse {
    /// How much has moved so far, as the caller counts it.
    signs: u64,
    since: Instant,
    asked: Option<Instant>,
}

/// What to think of it, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    Well,
    /// Send a question now.
    Ask,
    /// It was asked, and may still answer.
    Late,
    /// It does not answer.
    Gone,
}

impl Pulse {
    /// Of a process that was started just now, and that has to say something by itself first.
    pub fn new(now: Instant) -> Self {
        Self { signs: 0, since: now, asked: Some(now) }
    }

    /// Looks once more. `signs` counts what only a living side can bring about: messages that came, room that it made
    /// for what waited to be written. To be called after everything that has come was read.
    pub fn feel(&mut self, signs: u64, now: Instant) -> Beat {
        if signs != self.signs {
            *self = Self { signs, since: now, asked: None };
            return Beat::Well;
        }
        let Some(asked) = self.asked else {
            if now.duration_since(self.since) < SILENCE {
                return Beat::Well;
            }
            self.asked = Some(now);
            return Beat::Ask;
        };
        match now.duration_since(asked) {
            waited if waited >= PATIENCE => Beat::Gone,
            waited if waited >= LATE => Beat::Late,
            _ => Beat::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn silence_is_asked_about_once_and_then_given_up() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.feel(1, start), Beat::Well);
        assert_eq!(pulse.feel(1, start + SILENCE - MOMENT), Beat::Well);
        let asked = start + SILENCE;
        assert_eq!(pulse.feel(1, asked), Beat::Ask);
        assert_eq!(pulse.feel(1, asked + LATE - MOMENT), Beat::Well);
        assert_eq!(pulse.feel(1, asked + LATE), Beat::Late);
        assert_eq!(pulse.feel(1, asked + PATIENCE - MOMENT), Beat::Late);
        assert_eq!(pulse.feel(1, asked + PATIENCE), Beat::Gone);
    }

    #[test]
    fn one_that_says_nothing_from_the_start_is_given_up_unasked() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.feel(0, start + PATIENCE - MOMENT), Beat::Late);
        assert_eq!(pulse.feel(0, start + PATIENCE), Beat::Gone);
    }

    #[test]
    fn an_answer_makes_all_well_however_late_it_is_looked_for() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.feel(1, start), Beat::Well);
        let mut now = start + SILENCE;
        assert_eq!(pulse.feel(1, now), Beat::Ask);
        // Whoever asks may be busy for long: it has come meanwhile.
        now += PATIENCE * 10;
        assert_eq!(pulse.feel(2, now), Beat::Well);
        assert_eq!(pulse.feel(2, now + SILENCE), Beat::Ask);
    }

    proptest! {
        #[test]
        fn one_that_answers_in_time_is_never_given_up(
            pauses in proptest::collection::vec(0u64..9_000, 1..100),
        ) {
            let mut now = Instant::now();
            let (mut pulse, mut signs) = (Pulse::new(now), 1);
            for pause in pauses {
                let beat = pulse.feel(signs, now);
                prop_assert_ne!(beat, Beat::Gone);
                now += Duration::from_millis(pause);
                signs += u64::from(beat == Beat::Ask);
            }
        }
    }
}
