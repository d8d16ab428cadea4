//! Where a token starts: from the minting statement's own snapshot alone.
//!
//! A closed timestamp read at mint would be later than the snapshot and lose what committed in
//! between. Instead: C0, the highest `closed` among the newest stamps that the snapshot sees.
//! Whatever is at or below C0 had ended before such a stamp committed, so a snapshot that sees the
//! stamp sees all of it. Above C0 the snapshot saw some transactions and not others; the ones it
//! saw are listed.

use event_source_model::source::Start;

use crate::error::{Error, Kind, Result};
use crate::log::stamps::Stamps;

/// More entries than this would not fit a token beside a filter; each takes about nine bytes.
const MOST_SEEN: usize = 250;

/// The start position of a token minted under the active snapshot. Writes nothing and works on a
/// standby.
///
/// # Errors
/// When the snapshot sees no stamp at all, or too many above the newest closed timestamp.
pub fn start_position() -> Result<Start> {
    let mut stamps = Stamps::backward(i64::MAX)?;
    let mut start: Option<Start> = None;
    while let Some(stamp) = stamps.next()? {
        let start = start.get_or_insert(Start { closed: stamp.closed, seen: Vec::new() });
        if stamp.txn_ts <= start.closed {
            break;
        }
        start.closed = start.closed.max(stamp.closed);
        start.seen.push(stamp.txn_ts);
        if start.seen.len() > MOST_SEEN {
            return Err(too_many());
        }
    }
    let mut start = start.ok_or_else(|| {
        Error::new(Kind::SnapshotTooOld, "the snapshot is older than the capture")
            .hint("mint the event source in a new transaction")
    })?;
    start.seen.retain(|&txn_ts| txn_ts > start.closed);
    start.seen.reverse();
    Ok(start)
}

fn too_many() -> Error {
    Error::new(Kind::LimitExceeded, "too many transactions are committing at this moment")
        .hint("try again")
}
