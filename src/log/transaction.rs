//! The net changes of one stamped transaction, in the order that every reader sees.
//!
//! They stand by each row's last change. When they are too many or too large to be sorted in memory
//! they stand by key, read as they are asked for, so that a page inside a transaction of five million
//! rows costs a page. The stamp says which, so all readers take the same way.

use std::borrow::Cow;
use std::ops::ControlFlow;

use event_source_model::change::Change;
use event_source_model::look::{self, Only};
use event_source_model::net::{self, NetChange};
use event_source_model::payload;
use event_source_model::position::Position;
use event_source_model::stamp::Stamp;

use super::runs::{self, PAYLOAD, Runs, damaged};
use super::scan::Scan;
use super::shapes;
use super::stamps::Stamps;
use crate::error::Result;

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
    let mut scan = runs::open(stamp.segment, stamp.xid)?;
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
    // Behind the row after which the reader stopped.
    let behind = inside.and_then(|from| from.within.as_deref());
    let mut runs = Runs::behind(stamp.segment, stamp.xid, behind)?;
    let mut ordinal = inside.map_or(0, |from| from.ordinal.saturating_add(1));
    while let Some((place, changes)) = runs.next()? {
        for change in net::net_in(crate::settings::sequence(), decode(&changes)?) {
            let position =
                Position { within: Some(place.clone()), ..Position::at(stamp.txn_ts, ordinal) };
            ordinal = ordinal.saturating_add(1);
            if visit(position, change)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The changes of a payload.
pub fn decode(payload: &[u8]) -> Result<Vec<Change>> {
    payload::decode(payload, &mut shapes::find)
}

/// The changes of the change row that the scan stands on.
pub fn decode_row(scan: &Scan) -> Result<Vec<Change>> {
    decode(&scan.bytes(PAYLOAD).ok_or_else(damaged)?)
}
