//! The stamps of all segments, merged into the one order.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::SeqCst;

use event_source_model::encoding::Damaged;
use event_source_model::stamp::{Passed, Stamp};
use pgrx::pg_sys;
use pgrx::pg_sys::ScanDirection;

use super::scan::{Scan, Stored};
use super::{SEGMENTS, segment};
use crate::error::{Error, Kind, Result};
use crate::order::shared;

const INT8_GREATER: u32 = 470;
const INT8_LESS_EQUAL: u32 = 471;

/// The columns of a stamp table, from 0, as `sql/tables.sql` lays them out.
mod column {
    pub(super) const TXN_TS: usize = 0;
    pub(super) const HEAD: usize = 1;
    pub const PAYLOAD: usize = 2;
}

pub use column::PAYLOAD;

/// The stamps that the active snapshot sees, in order.
#[derive(Debug)]
pub struct Stamps {
    scans: Vec<Head>,
    direction: ScanDirection::Type,
    /// The scan whose row was given out last; it moves on at the next call.
    given: Option<usize>,
}

#[derive(Debug)]
struct Head {
    scan: Scan,
    /// Outside of these it ends.
    bounds: RangeInclusive<i64>,
    /// The txn_ts of the row that the scan stands on; `None` at its end.
    at: Option<i64>,
}

impl Stamps {
    /// Upwards, those in `(after, to]`.
    pub fn forward(after: i64, to: i64) -> Result<Self> {
        Self::open(after, to, ScanDirection::ForwardScanDirection)
    }

    /// Downwards, those at or below `to`.
    pub fn backward(to: i64) -> Result<Self> {
        // Every stamp is above 0, and empty segments are known by that bound.
        Self::between(0, to)
    }

    /// Downwards, those in `(after, to]`.
    pub fn between(after: i64, to: i64) -> Result<Self> {
        Self::open(after, to, ScanDirection::BackwardScanDirection)
    }

    fn open(after: i64, to: i64, direction: ScanDirection::Type) -> Result<Self> {
        // SAFETY: the caller has pushed one.
        let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
        let mut scans = Vec::with_capacity(SEGMENTS);
        for segment in 0..SEGMENTS {
            if holds_nothing_after(segment, after) {
                continue;
            }
            let table = segment::stamp_table(segment)?;
            // Where to begin, for the index; it would compare each stamp with where to end as well, dearer than
            // whoever reads it does.
            let (begin, bounds) = match direction {
                ScanDirection::ForwardScanDirection => {
                    let above = pg_sys::Datum::from(after);
                    ((1, pg_sys::BTGreaterStrategyNumber, INT8_GREATER, above), i64::MIN..=to)
                }
                _ => {
                    let up_to = pg_sys::Datum::from(to);
                    let begin = (1, pg_sys::BTLessEqualStrategyNumber, INT8_LESS_EQUAL, up_to);
                    (begin, after.saturating_add(1)..=i64::MAX)
                }
            };
            let scan = Scan::open(table, &[begin], snapshot, direction)?;
            let mut head = Head { scan, bounds, at: None };
            head.advance()?;
            scans.push(head);
        }
        Ok(Self { scans, direction, given: None })
    }

    /// The next stamp.
    pub fn next(&mut self) -> Result<Option<Stamp>> {
        if self.step()? { self.stamp().map(Some) } else { Ok(None) }
    }

    /// The next stamp, for whoever most likely only passes it.
    pub fn pass(&mut self) -> Result<Option<Passed>> {
        if !self.step()? {
            return Ok(None);
        }
        self.given()?.head(Passed::decode).map(Some)
    }

    /// The stamp given out last.
    pub fn stamp(&self) -> Result<Stamp> {
        self.given()?.head(Stamp::decode)
    }

    /// Moves to the next stamp, false at the end.
    fn step(&mut self) -> Result<bool> {
        if let Some(given) = self.given.take() {
            self.scans[given].advance()?;
        }
        let heads = self.scans.iter().enumerate().filter_map(|(i, h)| h.at.map(|at| (at, i)));
        let next = match self.direction {
            ScanDirection::ForwardScanDirection => heads.min(),
            _ => heads.max(),
        };
        self.given = next.map(|(_, index)| index);
        Ok(self.given.is_some())
    }

    fn given(&self) -> Result<&Head> {
        self.given.map(|given| &self.scans[given]).ok_or_else(damaged)
    }

    /// The payload of the stamp given out last.
    pub fn payload(&self) -> Option<Cow<'_, [u8]>> {
        let given = self.given?;
        self.scans[given].scan.bytes(PAYLOAD)
    }

    /// The whole row of the stamp given out last.
    pub fn row(&self) -> Stored<'_> {
        let given = self.given.expect("asked for behind a stamp that was given out");
        self.scans[given].scan.row()
    }
}

impl Head {
    fn advance(&mut self) -> Result<()> {
        let at = if self.scan.next() { Some(self.txn_ts()?) } else { None };
        self.at = at.filter(|at| self.bounds.contains(at));
        Ok(())
    }

    fn txn_ts(&self) -> Result<i64> {
        self.scan.column(column::TXN_TS).map(|datum| datum.value() as i64).ok_or_else(damaged)
    }

    /// The stamp that the scan stands on, or as much of it as `decode` reads.
    fn head<T>(&self, decode: fn(i64, &[u8]) -> std::result::Result<T, Damaged>) -> Result<T> {
        let txn_ts = self.at.ok_or_else(damaged)?;
        let head = self.scan.bytes(column::HEAD).ok_or_else(damaged)?;
        decode(txn_ts, &head).map_err(|_| damaged())
    }
}

/// The first and the last stamp ever written to a segment, also by transactions that aborted: bounds
/// of everything that anybody can see in it. A floor is not counted.
pub fn span_ever(segment: usize) -> Result<Option<(i64, i64)>> {
    // A constant of the server: it sees every row, whatever became of its transaction.
    let any = &raw mut pg_sys::SnapshotAnyData;
    let first = end_of(segment, ScanDirection::ForwardScanDirection, any, false)?;
    let last = end_of(segment, ScanDirection::BackwardScanDirection, any, false)?;
    Ok(first.zip(last).map(|(first, last)| (first.txn_ts, last.txn_ts)))
}

/// The last stamp of a segment that is committed at this moment, a floor included.
pub fn last_committed(segment: usize) -> Result<Option<Stamp>> {
    // A constant of the server: it sees what is committed, without a snapshot.
    let now = &raw mut pg_sys::SnapshotSelfData;
    end_of(segment, ScanDirection::BackwardScanDirection, now, true)
}

/// The floor of a segment as committed at this moment: it stands before everything else in it.
pub fn floor_of(segment: usize) -> Result<Option<i64>> {
    // As above.
    let now = &raw mut pg_sys::SnapshotSelfData;
    let first = end_of(segment, ScanDirection::ForwardScanDirection, now, true)?;
    Ok(first.filter(|stamp| stamp.floor).map(|stamp| stamp.txn_ts))
}

fn end_of(
    segment: usize,
    direction: ScanDirection::Type,
    snapshot: pg_sys::Snapshot,
    with_floor: bool,
) -> Result<Option<Stamp>> {
    let scan = Scan::open(segment::stamp_table(segment)?, &[], snapshot, direction)?;
    let mut head = Head { scan, bounds: i64::MIN..=i64::MAX, at: None };
    loop {
        head.advance()?;
        if head.at.is_none() {
            return Ok(None);
        }
        let stamp = head.head(Stamp::decode)?;
        if with_floor || !stamp.floor {
            return Ok(Some(stamp));
        }
    }
}

/// Whether shared memory knows that a segment has no stamp above `after`.
fn holds_nothing_after(segment: usize, after: i64) -> bool {
    let Ok(shared) = shared::get() else { return false };
    // SAFETY: process and shared state.
    let (recovering, database) = unsafe { (pg_sys::RecoveryInProgress(), pg_sys::MyDatabaseId) };
    !recovering
        && shared.database(database).is_some_and(|entry| {
            entry.primed.load(SeqCst) && entry.newest[segment].load(SeqCst) <= after
        })
}

fn damaged() -> Error {
    Error::new(Kind::Corrupted, "a stamp in the change log is damaged")
}
