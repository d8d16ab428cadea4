//! What tells whether two logs agree on everything up to a transaction.
//!
//! A stamp names the closed timestamp that it was written above: everything at or below that had ended
//! before. So whoever has the stamp has all of that. Between the two stand transactions that committed
//! at about the same time, some before this one and some after, and of these a log that was cut off
//! may lack some. The fingerprint of a stamp says which there were, itself included. It depends on the
//! log alone, so every reader gives out the same.

use std::collections::VecDeque;

/// Of more transactions than this there is no fingerprint: somebody was held up in the middle of a
/// commit, and everything since would have to be read for each of them.
pub const MOST: usize = 4096;

/// The fingerprint that says nothing.
pub const NONE: u64 = 0;

/// The stamps that a reader has passed last.
#[derive(Debug)]
pub struct Window {
    /// Ascending, each with the sum of the marks from some one on to it: a fingerprint is a difference.
    stamps: VecDeque<(i64, u64)>,
    /// The sum in front of the first.
    before: u64,
    /// Every stamp above this, up to the last one passed, is in here.
    above: i64,
    /// The one at `above` was left out, since there are too many.
    full: bool,
}

impl Window {
    /// Of a reader who starts above `txn_ts`.
    pub fn above(txn_ts: i64) -> Self {
        Self { stamps: VecDeque::new(), before: 0, above: txn_ts, full: false }
    }

    /// The next stamp is passed. One that was passed before, by a reader who tries again, counts once.
    pub fn push(&mut self, txn_ts: i64, history: u64) {
        let last = self.stamps.back().copied();
        if last.is_some_and(|(last, _)| txn_ts <= last) {
            return;
        }
        let sum = last.map_or(self.before, |(_, sum)| sum).wrapping_add(mark(txn_ts, history));
        if self.stamps.len() == MOST
            && let Some(first) = self.stamps.pop_front()
        {
            (self.above, self.before) = first;
            self.full = true;
        }
        self.stamps.push_back((txn_ts, sum));
    }

    /// For a stamp that was written above `closed`, those in `(closed, missing]` are still to be
    /// [taken in](Self::prepend), downwards.
    pub fn missing(&self, closed: i64) -> Option<i64> {
        (closed < self.above && !self.full).then_some(self.above)
    }

    /// The next stamp below the first. False: no more are needed, whatever there is.
    pub fn prepend(&mut self, txn_ts: i64, history: u64) -> bool {
        self.full = self.stamps.len() == MOST;
        self.above = if self.full { txn_ts } else { txn_ts - 1 };
        if !self.full {
            self.stamps.push_front((txn_ts, self.before));
            self.before = self.before.wrapping_sub(mark(txn_ts, history));
        }
        !self.full
    }

    /// All those above `closed` were taken in.
    pub fn reaches(&mut self, closed: i64) {
        self.above = self.above.min(closed);
    }

    /// The fingerprint of a stamp that was passed and was written above `closed`.
    pub fn fingerprint(&self, txn_ts: i64, closed: i64) -> u64 {
        if closed < self.above {
            return NONE;
        }
        self.sum_up_to(txn_ts).wrapping_sub(self.sum_up_to(closed)).max(NONE + 1)
    }

    /// Looked for from the end on: what is asked for was passed a moment ago.
    fn sum_up_to(&self, txn_ts: i64) -> u64 {
        let is_behind = |at: usize| self.stamps[at].0 > txn_ts;
        let (mut to, mut step) = (self.stamps.len(), 1);
        while step <= to && is_behind(to - step) {
            to -= step;
            step *= 2;
        }
        let mut from = to.saturating_sub(step);
        while from < to {
            let middle = from.midpoint(to);
            if is_behind(middle) {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        to.checked_sub(1).map_or(self.before, |last| self.stamps[last].1)
    }
}

/// Numbers of sixty-four bits that look random: the finalizer of SplitMix64, twice.
fn mark(txn_ts: i64, history: u64) -> u64 {
    mix(mix(txn_ts.cast_unsigned()) ^ history)
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader of the whole log says: the sum over all stamps in `(closed, txn_ts]`.
    fn plain(log: &[(i64, i64)], (txn_ts, closed): (i64, i64)) -> u64 {
        let among = log.iter().filter(|&&(at, _)| closed < at && at <= txn_ts);
        let marks: Vec<u64> = among.map(|&(at, _)| mark(at, 7)).collect();
        if marks.len() > MOST {
            return NONE;
        }
        marks.into_iter().fold(0, u64::wrapping_add).max(1)
    }

    /// What one says who starts somewhere, and takes in what is below only when it is missing.
    fn windowed(log: &[(i64, i64)], start: usize) -> Vec<u64> {
        let mut window = Window::above(start.checked_sub(1).map_or(0, |before| log[before].0));
        let mut said = Vec::new();
        for &(txn_ts, closed) in &log[start..] {
            window.push(txn_ts, 7);
            if let Some(to) = window.missing(closed) {
                let mut below = log.iter().rev().filter(|&&(at, _)| closed < at && at <= to);
                if below.all(|&(at, _)| window.prepend(at, 7)) {
                    window.reaches(closed);
                }
            }
            said.push(window.fingerprint(txn_ts, closed));
        }
        said
    }

    /// A log of stamps, each written above a closed timestamp up to so much below it.
    fn log(most: usize, held_up: i64) -> impl Strategy<Value = Vec<(i64, i64)>> {
        proptest::collection::vec((1..20_i64, 1..held_up), 1..most).prop_map(|steps| {
            let mut at = 0;
            let stamp = |(step, behind): (i64, i64)| {
                at += step;
                (at, (at - behind).max(0))
            };
            steps.into_iter().map(stamp).collect()
        })
    }

    proptest! {
        #[test]
        fn every_reader_says_the_same_wherever_it_started(
            log in log(60, 300), start in any::<proptest::sample::Index>()
        ) {
            let start = start.index(log.len());
            let wanted: Vec<u64> = log[start..].iter().map(|&stamp| plain(&log, stamp)).collect();
            prop_assert_eq!(windowed(&log, start), wanted);
        }

        #[test]
        fn a_log_that_lacks_one_of_them_says_something_else(
            log in log(60, 300), lost in any::<proptest::sample::Index>()
        ) {
            let lost = lost.index(log.len());
            let mut cut = log.clone();
            let (at, _) = cut.remove(lost);
            for &(txn_ts, closed) in &log {
                let concerned = closed < at && at <= txn_ts;
                let same = plain(&cut, (txn_ts, closed)) == plain(&log, (txn_ts, closed));
                prop_assert_eq!(same, !concerned);
            }
        }
    }

    #[test]
    fn of_too_many_no_reader_says_anything() {
        for extra in [0, 1, 2] {
            let last = i64::try_from(MOST).expect("a small number") + extra;
            // Everything since the first was written above the same closed timestamp.
            let log: Vec<(i64, i64)> = (1..=last).map(|at| (at, 0)).collect();
            let wanted: Vec<u64> = log.iter().map(|&stamp| plain(&log, stamp)).collect();
            assert_ne!(wanted[MOST - 1], NONE, "as many as are allowed");
            for start in [0, 1, 2, log.len() - 3, log.len() - 1] {
                assert_eq!(windowed(&log, start), wanted[start..], "{extra} more, from {start}");
            }
        }
    }
}
