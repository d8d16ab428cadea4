//! Fingerprints of the stamps that a reader passes; what they are for, `crates/model` says.
//!
//! It runs in whoever reads the log, and needs the active snapshot of that reader. It reads stamps
//! below the reader's own start when, and only when, a fingerprint reaches that far.

use event_source_model::fingerprint::Window;
use event_source_model::position::Position;
use event_source_model::stamp::{Mark, Passed};

use super::stamps::Stamps;
use crate::error::Result;

/// The fingerprints of one reader, who passes every stamp in order.
#[derive(Debug)]
pub struct Fingerprints(Window);

impl Fingerprints {
    /// Of a reader who starts above `txn_ts`.
    pub fn above(txn_ts: i64) -> Self {
        Self(Window::above(txn_ts))
    }

    /// The reader passes a stamp.
    pub fn pass(&mut self, mark: Mark) {
        // A floor is no transaction, and not there for every reader.
        if !mark.floor {
            self.0.push(mark.txn_ts, mark.history);
        }
    }

    /// Of a stamp that the reader has passed.
    pub fn of(&mut self, mark: Mark) -> Result<u64> {
        if let Some(top) = self.0.missing(mark.closed) {
            let mut below = Stamps::between(mark.closed, top)?;
            let mut wanted = true;
            while wanted && let Some(passed) = below.pass()? {
                let Mark { txn_ts, history, floor, .. } = passed.mark;
                wanted = floor || self.0.prepend(txn_ts, history);
            }
            if wanted {
                self.0.reaches(mark.closed);
            }
        }
        Ok(self.0.fingerprint(mark.txn_ts, mark.closed))
    }
}

/// The fingerprint of one stamp.
pub fn of(mark: Mark) -> Result<u64> {
    let mut fingerprints = Fingerprints::above(mark.txn_ts - 1);
    fingerprints.pass(mark);
    fingerprints.of(mark)
}

/// Behind the newest transaction up to a closed timestamp.
pub fn newest(closed: i64) -> Result<Option<Position>> {
    let newest = Stamps::backward(closed)?.pass()?;
    newest.map(|Passed { mark, .. }| Ok(Position::after(mark.txn_ts).with(of(mark)?))).transpose()
}
