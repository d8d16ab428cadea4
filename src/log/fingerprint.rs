//! Fingerprints of the stamps that a reader passes; what they are for, `crates/model` says.
//!
//! It runs in whoever reads the log, and needs the active snapshot of that reader. It reads stamps
//! below the reader's own start when, and only when, a fingerprint reaches that far.

use event_source_model::fingerprint::Window;
use event_source_model::position::Position;
use event_source_model::stamp::Stamp;

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
    pub fn pass(&mut self, stamp: &Stamp) {
        // A floor is no transaction, and not there for every reader.
        if !stamp.floor {
            self.0.push(stamp.txn_ts, stamp.history);
        }
    }

    /// Of a stamp that the reader has passed.
    pub fn of(&mut self, stamp: &Stamp) -> Result<u64> {
        if let Some(top) = self.0.missing(stamp.closed) {
            let mut below = Stamps::between(stamp.closed, top)?;
            let mut wanted = true;
            while wanted && let Some(stamp) = below.next()? {
                wanted = stamp.floor || self.0.prepend(stamp.txn_ts, stamp.history);
            }
            if wanted {
                self.0.reaches(stamp.closed);
            }
        }
        Ok(self.0.fingerprint(stamp.txn_ts, stamp.closed))
    }
}

/// The fingerprint of one stamp.
pub fn of(stamp: &Stamp) -> Result<u64> {
    let mut fingerprints = Fingerprints::above(stamp.txn_ts - 1);
    fingerprints.pass(stamp);
    fingerprints.of(stamp)
}

/// Behind the newest transaction up to a closed timestamp.
pub fn newest(closed: i64) -> Result<Option<Position>> {
    let newest = Stamps::backward(closed)?.next()?;
    newest.map(|stamp| Ok(Position::after(stamp.txn_ts).with(of(&stamp)?))).transpose()
}
