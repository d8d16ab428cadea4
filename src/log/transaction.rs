//! The net changes of one stamped transaction, in the order that every reader sees.
//!
//! They stand by each row's last change. When they are too many or too large to be sorted in memory
//! they stand by key, read from the index as they are asked for, so that a page inside a transaction
//! of five million rows costs a page. The stamp says which, so all readers take the same way.

use std::borrow::Cow;
use std::ops::ControlFlow;

use event_source_model::change::Change;
use event_source_model::look::{self, Only};
use event_source_model::net::{self, NetChange};
use event_source_model::payload;
use event_source_model::position::Position;
use event_source_model::stamp::Stamp;
use pgrx::pg_sys;
use pgrx::pg_sys::ScanDirection;

use super::scan::{Condition, Scan};
use super::stamps::Stamps;
use super::{segment, shapes};
use crate::error::{Error, Kind, Result};

const XID8_EQUAL: u32 = 5084;
const BYTEA_GREATER_EQUAL: u32 = 1952;
/// The columns of a change table, from 0.
const PLACE: usize = 1;
pub const PAYLOAD: usize = 2;

/// Calls `visit` with each net change of the stamp that `stamps` gave out last and that is behind
/// `from`, in order, until it breaks.
pub fn visit(
    stamps: &Stamps,
    stamp: &Stamp,
    from: &Position,
    visit: &mut dyn FnMut(Position, NetChange) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    if stamp.changes == 0 {
        return Ok(ControlFlow::Continue(()));
    }
    // Where in this transaction the reader stands, if it is inside.
    let inside = (from.txn_ts == stamp.txn_ts).then_some(from);
    if stamp.by_key {
        return by_key(stamp, inside, visit);
    }
    let changes = net::net_in(crate::settings::sequence(), raw(stamps, stamp)?);
    for (ordinal, change) in changes.into_iter().enumerate() {
        let ordinal = ordinal as u32;
        if inside.is_some_and(|from| ordinal <= from.ordinal) {
            continue;
        }
        if visit(Position::at(stamp.txn_ts, ordinal), change)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The payload of the stamp that `stamps` gave out last, if one change is all that is in it, and what that
/// is. [`visit`] would give the same change.
pub fn only<'a>(stamps: &'a Stamps, stamp: &Stamp) -> Result<Option<(Cow<'a, [u8]>, Only)>> {
    if stamp.changes != 1 {
        return Ok(None);
    }
    let Some(payload) = stamps.payload() else { return Ok(None) };
    let only = look::only(&payload, &mut shapes::find)?;
    Ok(only.map(|only| (payload, only)))
}

/// The net change of a payload with [`only`] one.
pub fn net_of(payload: &[u8]) -> Result<NetChange> {
    let mut changes = net::net_in(crate::settings::sequence(), decode(payload)?);
    changes.pop().ok_or_else(damaged)
}

/// All changes, as captured, of the stamp that `stamps` gave out last.
pub fn raw(stamps: &Stamps, stamp: &Stamp) -> Result<Vec<Change>> {
    match stamps.payload() {
        Some(payload) => decode(&payload),
        None => rows(stamp),
    }
}

fn rows(stamp: &Stamp) -> Result<Vec<Change>> {
    let mut scan = open(stamp.segment, stamp.xid, None)?;
    let mut changes = Vec::new();
    while scan.next() {
        changes.extend(decode_row(&scan)?);
    }
    Ok(changes)
}

/// One row of the table after the other: all changes of a key stand together.
fn by_key(
    stamp: &Stamp,
    inside: Option<&Position>,
    visit: &mut dyn FnMut(Position, NetChange) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    let start = inside.and_then(|from| from.within.as_deref());
    let mut scan = open(stamp.segment, stamp.xid, start)?;
    let mut ordinal = inside.map_or(0, |from| from.ordinal.saturating_add(1));
    let mut group: Option<(Vec<u8>, Vec<Change>)> = None;
    loop {
        let more = scan.next();
        let place =
            if more { Some(scan.bytes(PLACE).ok_or_else(damaged)?.into_owned()) } else { None };
        if let Some((done, changes)) = group.take_if(|(at, _)| Some(&*at) != place.as_ref()) {
            for change in net::net_in(crate::settings::sequence(), changes) {
                let position =
                    Position { within: Some(done.clone()), ..Position::at(stamp.txn_ts, ordinal) };
                ordinal = ordinal.saturating_add(1);
                if visit(position, change)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        let Some(place) = place else { return Ok(ControlFlow::Continue(())) };
        if start == Some(place.as_slice()) {
            // The row after which the reader stopped.
            continue;
        }
        let changes = decode_row(&scan)?;
        match &mut group {
            Some((_, group)) => group.extend(changes),
            None => group = Some((place, changes)),
        }
    }
}

/// The change rows of a transaction. Needs an active snapshot.
pub fn open(segment: usize, xid: u64, from_place: Option<&[u8]>) -> Result<Scan> {
    use pgrx::datum::IntoDatum;
    let xid = pg_sys::Datum::from(xid as i64);
    let mut conditions: Vec<Condition> = vec![(1, pg_sys::BTEqualStrategyNumber, XID8_EQUAL, xid)];
    if let Some(place) = from_place {
        let place = place.into_datum().expect("bytes are never null");
        conditions.push((2, pg_sys::BTGreaterEqualStrategyNumber, BYTEA_GREATER_EQUAL, place));
    }
    // SAFETY: the caller has pushed one.
    let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
    let forward = ScanDirection::ForwardScanDirection;
    Scan::open(segment::change_table(segment)?, &conditions, snapshot, forward)
}

/// The changes of a payload.
pub fn decode(payload: &[u8]) -> Result<Vec<Change>> {
    payload::decode(payload, &mut shapes::find)
}

/// The changes of the change row that the scan stands on.
pub fn decode_row(scan: &Scan) -> Result<Vec<Change>> {
    decode(&scan.bytes(PAYLOAD).ok_or_else(damaged)?)
}

fn damaged() -> Error {
    Error::new(Kind::Corrupted, "a change row in the change log is damaged")
}
