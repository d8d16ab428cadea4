//! Where a token starts: from the minting statement's own snapshot alone.
//!
//! A closed timestamp read at mint would be later than the snapshot and lose what committed in
//! between. Instead: C0, the highest `closed` among the newest stamps that the snapshot sees.
//! Whatever is at or below C0 had ended before such a stamp committed, so a snapshot that sees the
//! stamp sees all of it. Above C0 the snapshot saw some transactions and not others; the ones it
//! saw are listed.
//!
//! **Prepared transactions.** A prepared transaction P is stamped by somebody else, in a later
//! transaction D. The snapshot sees either both, and then the stamp is in the log that it sees; or
//! neither, and then the stamp is above C0 (a `closed` at or above it was read after D had ended, by a
//! transaction that the snapshot does not see) and will be delivered; or P alone. That P is found by its
//! row in `prepared`, which the snapshot sees exactly as long as it sees P and not D. Its stamp is then
//! waited for, some milliseconds (by the worker not at all), and listed with the others: from it on the case is like any other.

use std::time::{Duration, Instant};

use event_source_model::source::Start;
use pgrx::pg_sys;

use crate::error::{Error, Kind, Result};
use crate::log::prepared;
use crate::log::stamps::Stamps;
use crate::pg::process::is_worker;
use crate::pg::snapshot::ActiveSnapshot;

/// More entries than this would not fit a token beside a filter; each takes about nine bytes.
const MOST_SEEN: usize = 250;
/// The stamp of a prepared transaction is written before COMMIT PREPARED answers, and at the latest
/// a tenth of a second after it by the worker. Without either there is no end of waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const PAUSE_MS: std::ffi::c_long = 2;

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
    drop(stamps);
    let mut start = start.ok_or_else(|| {
        Error::new(Kind::SnapshotTooOld, "the snapshot is older than the capture")
            .hint("mint the event source in a new transaction")
    })?;
    start.seen.retain(|&txn_ts| txn_ts > start.closed);
    let unstamped = prepared::seen_unstamped()?;
    if !unstamped.is_empty() {
        start.seen.extend(stamps_of(unstamped, start.closed)?);
    }
    if start.seen.len() > MOST_SEEN {
        return Err(too_many());
    }
    start.seen.sort_unstable();
    Ok(start)
}

/// The stamps of prepared transactions that are committed, all of them above `after`. Waits until
/// they have been written.
fn stamps_of(mut xids: Vec<u64>, after: i64) -> Result<Vec<i64>> {
    let begun = Instant::now();
    while {
        let _now = ActiveSnapshot::now();
        let unstamped = prepared::seen_unstamped()?;
        xids.iter().any(|xid| unstamped.contains(xid))
    } {
        // The worker would wait for itself.
        let is_worker = is_worker();
        if is_worker || begun.elapsed() > LONGEST_WAIT {
            let kind = if is_worker { Kind::Contended } else { Kind::SnapshotTooOld };
            return Err(Error::new(
                kind,
                "a committed prepared transaction has no position in the change log yet",
            )
            .detail("The session that committed it was interrupted.")
            .hint("try again after a change of a captured table, or name the database in event_source.listen: its worker writes the position"));
        }
        pause();
    }
    let _now = ActiveSnapshot::now();
    let mut found = Vec::with_capacity(xids.len());
    let mut stamps = Stamps::forward(after, i64::MAX)?;
    while !xids.is_empty() {
        let Some(stamp) = stamps.next()? else {
            return Err(Error::new(Kind::SnapshotTooOld, "the snapshot is older than the log")
                .hint("mint the event source in a new transaction"));
        };
        if let Some(at) = xids.iter().position(|&xid| xid == stamp.xid) {
            xids.swap_remove(at);
            found.push(stamp.txn_ts);
        }
    }
    Ok(found)
}

fn pause() {
    const EVENTS: u32 = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process's own latch.
    unsafe {
        let latch = pg_sys::MyLatch;
        pg_sys::WaitLatch(latch, EVENTS as i32, PAUSE_MS, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(latch);
    }
    pgrx::check_for_interrupts!();
}

fn too_many() -> Error {
    Error::new(Kind::LimitExceeded, "too many transactions are committing at this moment")
        .hint("try again")
}
