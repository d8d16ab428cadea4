//! Which history of which database this is.
//!
//! A history is one timeline of one database of one cluster. Cursors and tokens name theirs, so
//! that after a failover, a restore or a clone nobody silently goes on from a position that this
//! server never had, and that whoever lost nothing goes on.
//!
//! **After a failover or PITR** the server has the log of the old timeline up to the switch point. A
//! position is common to both if all that it covers is in there. Its stamp alone does not say so: of
//! two transactions the one with the lower stamp may have been committed later, and be lost. So a
//! cursor carries the [fingerprint](event_source_model::fingerprint) of its stamp, and a later stamp
//! from before the switch says up to where everything had ended when it was written. Either is proof.
//!
//! **After CREATE DATABASE ... TEMPLATE and pg_upgrade** the log came along whole, with nobody at work:
//! a position is common if a stamp of its history stands at or behind it.
//!
//! **After the restore of a dump** the log is a new one, and nothing is common. The token's definition
//! is good, from a position of the new history.

use std::cell::{Cell, RefCell};

use event_source_model::fingerprint::NONE;
use event_source_model::position::{Cursor, Position};
use event_source_model::stamp::Stamp;
use pgrx::pg_sys;
use sha2::{Digest as _, Sha256};

use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::log::stamps::Stamps;
use crate::log::{fingerprint, floor};
use crate::pg::timeline::timelines;

/// Stamps looked at for the last common one. A position lies at most a little behind it, or the log
/// has nothing in common with it.
const LONGEST_LOOK: usize = 1_000;

thread_local! {
    /// Computed once on a primary; on a standby the timeline may change under us.
    static KNOWN: Cell<Option<u64>> = const { Cell::new(None) };
    /// The timeline of which [`past`] was asked last, and the answer.
    static LINE: RefCell<Option<(u32, Vec<u32>)>> = const { RefCell::new(None) };
}

/// A hash of system identifier, timeline and database.
pub fn history_id() -> u64 {
    if let Some(id) = KNOWN.get() {
        return id;
    }
    // Before the timeline is read: a promotion in between must not make the old one permanent.
    // SAFETY: reads shared state.
    let recovering = unsafe { pg_sys::RecoveryInProgress() };
    let id = id_on(compat::timeline());
    if !recovering {
        KNOWN.set(Some(id));
    }
    id
}

/// A hash of system identifier and timeline: the history of all databases together, and of their roles.
pub fn cluster_id() -> u64 {
    cluster_on(compat::timeline())
}

/// The history of this database on one of the cluster's timelines.
fn id_on(timeline: u32) -> u64 {
    // SAFETY: set when the backend connected.
    hash_on(timeline, Some(unsafe { pg_sys::MyDatabaseId }))
}

/// The history of the cluster on one of its timelines.
fn cluster_on(timeline: u32) -> u64 {
    hash_on(timeline, None)
}

fn hash_on(timeline: u32, database: Option<pg_sys::Oid>) -> u64 {
    // SAFETY: reads what the control file said at start.
    let system = unsafe { pg_sys::GetSystemIdentifier() };
    let mut hash = Sha256::new();
    hash.update(system.to_be_bytes());
    hash.update(timeline.to_be_bytes());
    if let Some(database) = database {
        hash.update(database.to_u32().to_be_bytes());
    }
    let digest = hash.finalize();
    u64::from_be_bytes(*digest.first_chunk().expect("SHA-256 has more than eight bytes"))
}

/// The present timeline and those that it goes on from, downwards. After a failover every request of a
/// token from before asks for them; they are read from a file once for each timeline, of which what was
/// before it never changes.
fn past() -> Vec<u32> {
    let timeline = compat::timeline();
    let known = LINE.take().filter(|(of, _)| *of == timeline);
    let line = known.map_or_else(|| timelines(timeline), |(_, line)| line);
    LINE.set(Some((timeline, line.clone())));
    line
}

/// The histories of this database: the present one and those that it goes on from, downwards.
fn line() -> Vec<u64> {
    past().into_iter().map(id_on).collect()
}

/// Another history, as this database sees it.
struct Past {
    history: u64,
    /// This server was on it, and left it for another timeline.
    ours: bool,
    /// If so: it and those before it. If not: all those of this database.
    line: Vec<u64>,
}

impl Past {
    fn of(history: u64) -> Self {
        let mut line = line();
        let at = line.iter().position(|&id| id == history);
        if let Some(at) = at {
            line.drain(..at);
        }
        Self { history, ours: at.is_some(), line }
    }

    /// Whether a stamp may be one that a reader of that history was told of.
    fn may_hold(&self, stamp: &Stamp) -> bool {
        self.line.contains(&stamp.history) == self.ours
    }

    /// Whether everything up to the position is here.
    fn covers(&self, position: &Position) -> Result<bool> {
        let mut stamps = Stamps::forward(position.txn_ts.saturating_sub(1), i64::MAX)?;
        while let Some(stamp) = stamps.next()?.filter(|stamp| self.may_hold(stamp)) {
            let proven = if self.ours {
                !stamp.floor && (stamp.closed >= position.txn_ts || agrees(&stamp, position)?)
            } else {
                stamp.history == self.history
            };
            if proven {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether each of these transactions is here.
    fn holds_all(&self, txn_ts: &[i64]) -> Result<bool> {
        let (Some(first), Some(last)) = (txn_ts.first(), txn_ts.last()) else { return Ok(true) };
        let mut missing = txn_ts;
        let mut stamps = Stamps::forward(first - 1, *last)?;
        while let Some(stamp) = stamps.next()?.filter(|stamp| self.may_hold(stamp)) {
            if missing.first() == Some(&stamp.txn_ts) {
                missing = &missing[1..];
            }
        }
        Ok(missing.is_empty())
    }

    /// From where on the present history can be read: the last transaction up to `txn_ts` that both
    /// have, or where the log begins.
    fn switch(&self, txn_ts: i64) -> Result<Position> {
        let mut stamps = Stamps::backward(txn_ts)?;
        for _ in 0..LONGEST_LOOK {
            match stamps.next()? {
                Some(stamp) if self.ours && self.may_hold(&stamp) => {
                    return Ok(Position::after(stamp.txn_ts));
                }
                Some(stamp) if stamp.history == self.history => {
                    return Ok(Position::after(stamp.txn_ts));
                }
                Some(_) => {}
                None => break,
            }
        }
        drop(stamps);
        Ok(Position::after(floor::oldest()?))
    }
}

/// Whether the reader saw what is here up to the stamp, which must be the one that it stands at.
fn agrees(stamp: &Stamp, position: &Position) -> Result<bool> {
    Ok(stamp.txn_ts == position.txn_ts
        && position.fingerprint != NONE
        && fingerprint::of(stamp.mark())? == position.fingerprint)
}

/// Checks that a reader at a position of `history`, who has also seen the transactions `seen` above
/// it, can go on here: with this history, or with one that continues it from behind all of that. Needs
/// an active snapshot.
///
/// # Errors
/// [`Kind::HistoryChanged`], with a cursor from which this history can be read.
pub fn check(history: u64, position: &Position, seen: &[i64]) -> Result<()> {
    if history == history_id() {
        return Ok(());
    }
    let past = Past::of(history);
    // Whoever began with rows has seen all that they are of, which reaches further.
    let rows = position.snapshot.as_ref();
    let at = rows.map(|rows| Position::after(rows.saw.closed)).filter(|at| at > position);
    let (at, seen) = (at.as_ref().unwrap_or(position), rows.map_or(seen, |rows| &rows.saw.seen));
    let above = &seen[seen.partition_point(|&txn_ts| txn_ts <= at.txn_ts)..];
    if past.covers(at)? && past.holds_all(above)? {
        return Ok(());
    }
    let cursor = Cursor { history: history_id(), position: past.switch(position.txn_ts)? }.encode();
    let mut error = changed().detail(format!(
        "The database was restored, cloned or failed over since, and lacks what was read. From {cursor} on its own history can be read."
    ));
    error.cursor = Some(cursor);
    Err(error)
}

/// Whether what has an OID in that history has the same one here.
pub fn shares_oids(history: u64) -> bool {
    history == history_id() || Past::of(history).ours
}

/// Whether a role that has an OID in that history of a cluster has the same one here.
pub fn shares_roles(cluster: u64) -> bool {
    cluster == cluster_id() || past().into_iter().map(cluster_on).any(|here| here == cluster)
}

/// The answer to a reader of another history.
pub fn changed() -> Error {
    Error::new(Kind::HistoryChanged, "the position is of another history")
        .hint("read the table anew and start from a new event source")
}
