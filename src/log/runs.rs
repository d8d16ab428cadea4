//! The change rows of a large transaction: runs, each in order by place, and how they are read as one.
//!
//! A row is a part of a run. It stands at the number of its run and the place of its first change, so that the
//! part in which a place stands is found in the index, and a page of a transaction of millions of rows costs a
//! page. Runs are few: a backend writes one when it holds as much as it may, see [`super::level`]. One that went
//! with its savepoint leaves a gap. Needs the active snapshot of its reader.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use event_source_model::place;
use pgrx::pg_sys;
use pgrx::pg_sys::ScanDirection;

use super::scan::{Condition, Scan};
use super::{segment, shapes};
use crate::error::{Error, Kind, Result};
use crate::pg::varlena::Varlena;

const XID8_EQUAL: u32 = 5084;
const BYTEA_LESS_EQUAL: u32 = 1950;
const BYTEA_GREATER_EQUAL: u32 = 1952;
/// The columns of a change table, from 0.
const PLACE: usize = 1;
pub(super) const PAYLOAD: usize = 2;

/// A place within a run, as the index has it.
pub(super) fn place(run: u32, place: &[u8]) -> Vec<u8> {
    [&run.to_be_bytes(), place].concat()
}

/// All change rows of a transaction.
pub fn open(segment: usize, xid: u64) -> Result<Scan> {
    scan(segment, xid, None, ScanDirection::ForwardScanDirection)
}

/// Its change rows from a place in a run on.
fn from(segment: usize, xid: u64, run: u32, at: &[u8]) -> Result<Scan> {
    let at = Varlena::of(&place(run, at));
    let bound = (pg_sys::BTGreaterEqualStrategyNumber, BYTEA_GREATER_EQUAL, at);
    scan(segment, xid, Some(bound), ScanDirection::ForwardScanDirection)
}

/// Its change rows down from a place in a run.
fn down_from(segment: usize, xid: u64, run: u32, at: &[u8]) -> Result<Scan> {
    let at = Varlena::of(&place(run, at));
    let bound = (pg_sys::BTLessEqualStrategyNumber, BYTEA_LESS_EQUAL, at);
    scan(segment, xid, Some(bound), ScanDirection::BackwardScanDirection)
}

fn scan(
    segment: usize,
    xid: u64,
    bound: Option<(u32, u32, Varlena)>,
    direction: ScanDirection::Type,
) -> Result<Scan> {
    let xid = pg_sys::Datum::from(xid as i64);
    let mut conditions: Vec<Condition> = vec![(1, pg_sys::BTEqualStrategyNumber, XID8_EQUAL, xid)];
    if let Some((strategy, function, place)) = &bound {
        conditions.push((2, *strategy, *function, place.datum()));
    }
    // SAFETY: the caller has pushed one.
    let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
    let mut scan = Scan::open(segment::change_table(segment)?, &conditions, snapshot, direction)?;
    if let Some((.., place)) = bound {
        scan.keep(place);
    }
    Ok(scan)
}

/// The changes of a transaction in order by place, whichever run they are in.
#[derive(Debug)]
pub struct Runs {
    runs: Vec<Run>,
    /// Of each run that has something left the place that is next, and which run it is. Of a part that was not
    /// looked into yet that is where it begins.
    next: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

/// A run that is read.
#[derive(Debug)]
struct Run {
    number: u32,
    /// On the part that is to be looked into next, if `is_on_part`.
    scan: Scan,
    is_on_part: bool,
    /// What is left of the part that was looked into last: places and changes.
    rest: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Runs {
    /// Behind a place, or from the first.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn behind(segment: usize, xid: u64, behind: Option<&[u8]>) -> Result<Self> {
        let mut runs = Self { runs: Vec::new(), next: BinaryHeap::new() };
        let mut number = 0;
        while let Some(run) = Run::first(segment, xid, number)? {
            number = run.number + 1;
            let run = match behind {
                Some(behind) => run.behind(segment, xid, behind)?,
                None => Some(run),
            };
            if let Some(run) = run {
                runs.runs.push(run);
                runs.put_next(runs.runs.len() - 1, behind)?;
            }
        }
        Ok(runs)
    }

    /// The next place and what stands there, changes one behind the other; `None` at the end.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some(Reverse((place, at))) = self.next.pop() else { return Ok(None) };
        let mut changes = self.take(at, &place)?;
        while self.next.peek().is_some_and(|Reverse((next, _))| *next == place) {
            let Some(Reverse((_, at))) = self.next.pop() else { break };
            changes.extend(self.take(at, &place)?);
        }
        Ok(Some((place, changes)))
    }

    /// What a run has at its next place.
    fn take(&mut self, at: usize, place: &[u8]) -> Result<Vec<u8>> {
        let run = &mut self.runs[at];
        if run.rest.is_empty() {
            run.look(None)?;
        }
        let mut changes = Vec::new();
        while let Some((_, change)) = run.rest.pop_front_if(|(next, _)| next == place) {
            changes.extend(change);
        }
        self.put_next(at, None)?;
        Ok(changes)
    }

    fn put_next(&mut self, at: usize, behind: Option<&[u8]>) -> Result<()> {
        if let Some(place) = self.runs[at].next_place(behind)? {
            self.next.push(Reverse((place, at)));
        }
        Ok(())
    }
}

impl Run {
    /// The first run from a number on, at its beginning.
    fn first(segment: usize, xid: u64, number: u32) -> Result<Option<Self>> {
        let mut scan = from(segment, xid, number, &[])?;
        if !scan.next() {
            return Ok(None);
        }
        let (number, _) = row(&scan)?;
        Ok(Some(Self { number, scan, is_on_part: true, rest: VecDeque::new() }))
    }

    /// The same at the part in which something behind the place may stand; `None` behind the last.
    fn behind(self, segment: usize, xid: u64, behind: &[u8]) -> Result<Option<Self>> {
        let (_, first) = row(&self.scan)?;
        if first.as_slice() > behind {
            return Ok(Some(self));
        }
        let mut found = down_from(segment, xid, self.number, behind)?;
        if !found.next() {
            return Err(damaged());
        }
        let (_, begin) = row(&found)?;
        if found.bytes(PAYLOAD).ok_or_else(damaged)?.is_empty() {
            return Ok(None);
        }
        let mut scan = from(segment, xid, self.number, &begin)?;
        let is_on_part = scan.next();
        Ok(Some(Self { scan, is_on_part, ..self }))
    }

    /// The next place of the run, looked for in parts that begin at `behind` or before.
    fn next_place(&mut self, behind: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some((place, _)) = self.rest.front() {
                return Ok(Some(place.clone()));
            }
            if !self.is_on_part {
                return Ok(None);
            }
            let (_, begin) = row(&self.scan)?;
            if behind.is_none_or(|behind| begin.as_slice() > behind) {
                return Ok(Some(begin));
            }
            self.look(behind)?;
        }
    }

    /// Takes what is in the part that the scan is on and behind a place, and moves on to the next part.
    fn look(&mut self, behind: Option<&[u8]>) -> Result<()> {
        let rest = &mut self.rest;
        let payload = self.scan.bytes(PAYLOAD).ok_or_else(damaged)?;
        place::each(&payload, &mut shapes::find, |place, change| {
            if behind.is_none_or(|behind| place > behind) {
                rest.push_back((place.to_vec(), change.into_owned()));
            }
            Ok(())
        })?;
        drop(payload);
        self.is_on_part = self.scan.next() && {
            let (number, _) = row(&self.scan)?;
            // What stands behind the last part has no changes.
            number == self.number && !self.scan.bytes(PAYLOAD).ok_or_else(damaged)?.is_empty()
        };
        Ok(())
    }
}

/// The run of the row that a scan is on, and the place at which it begins.
fn row(scan: &Scan) -> Result<(u32, Vec<u8>)> {
    let place = scan.bytes(PLACE).ok_or_else(damaged)?;
    let (number, place) = place.split_first_chunk().ok_or_else(damaged)?;
    Ok((u32::from_be_bytes(*number), place.to_vec()))
}

pub(super) fn damaged() -> Error {
    Error::new(Kind::Corrupted, "a change row in the change log is damaged")
}
