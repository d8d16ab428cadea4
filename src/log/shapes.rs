//! The shapes of logged rows: kept once in the log, under a name that is a hash of what they are.
//!
//! It guarantees that whoever can see a change can see its shape: the transaction that first logs a
//! row of a shape writes the shape too, and until it is committed all others do the same. Two rows
//! under one name are the same row. Shapes are never removed; a table has one for each of its
//! definitions that rows were written under.
//!
//! Runs in writers ([`store`]) and readers ([`find`]). [`settle`], [`subabort`] and [`forget`] are
//! called where nothing may fail.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use event_source_model::change::Change;
use event_source_model::image::Shape;
use event_source_model::payload::{self, ShapeId};
use pgrx::pg_sys;
use pgrx::pg_sys::ScanDirection;
use rustc_hash::FxHashMap;

use super::scan::Scan;
use super::segment;
use super::table::Table;
use crate::error::{Error, Kind, Result};
use crate::order::ending;
use crate::pg::unguarded;

const INT8_EQUAL: u32 = 467;
/// The column that holds the shape, from 0.
const SHAPE: usize = 1;
/// Shapes that a reader remembers.
const MOST_FOUND: usize = 10_000;

thread_local! {
    static FOUND: RefCell<FxHashMap<ShapeId, Arc<Shape>>> = RefCell::default();
    /// What this transaction has stored, and in which subtransaction.
    static STORED: RefCell<Vec<pg_sys::SubTransactionId>> = const { RefCell::new(Vec::new()) };
    static AGE: Cell<u64> = const { Cell::new(1) };
}

/// Counts the moments at which something that was stored may have gone: what was found to be in the
/// log is there as long as this stays the same. Never 0.
pub fn age() -> u64 {
    AGE.get()
}

/// Sees to it that the log has a shape when this transaction commits.
pub fn store(id: ShapeId, stored: &[u8]) -> Result<()> {
    if open(id)?.next() {
        return Ok(());
    }
    let mut table = Table::open(segment::shape_table()?)?;
    table.insert(id.0, &[Some(stored)]);
    table.close()?;
    let current = unguarded::current_subtransaction();
    ending::await_it();
    STORED.with_borrow_mut(|all| all.push(current));
    Ok(())
}

/// Lets `write` name shapes, and sees to it that the log has them.
pub fn name(write: impl FnOnce(&mut dyn FnMut(&Arc<Shape>) -> ShapeId)) -> Result<()> {
    let mut named = BTreeMap::new();
    write(&mut |shape| {
        let (id, stored) = ShapeId::of(shape);
        named.insert(id, stored);
        id
    });
    named.iter().try_for_each(|(id, stored)| store(*id, stored))
}

/// Changes as a payload.
pub fn encode(changes: &[Change]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    name(|id| changes.iter().for_each(|change| payload::encode(change, id, &mut bytes)))?;
    Ok(bytes)
}

/// The shape of a logged row.
pub fn find(id: ShapeId) -> Result<Arc<Shape>> {
    if let Some(shape) = FOUND.with_borrow(|found| found.get(&id).cloned()) {
        return Ok(shape);
    }
    let mut scan = open(id)?;
    let found = scan.next();
    let stored = if found { scan.bytes(SHAPE) } else { None };
    let shape = Arc::new(stored.and_then(|stored| id.read(&stored).ok()).ok_or_else(|| {
        Error::new(Kind::Corrupted, "the columns of a row in the change log are not known")
    })?);
    FOUND.with_borrow_mut(|found| {
        if found.len() >= MOST_FOUND {
            found.clear();
        }
        found.insert(id, Arc::clone(&shape));
    });
    Ok(shape)
}

/// What is committed or of this transaction, at this moment: no snapshot, which in a SERIALIZABLE
/// transaction would leave predicate locks.
fn open(id: ShapeId) -> Result<Scan> {
    let name = pg_sys::Datum::from(id.0 as i64);
    let equal = [(1, pg_sys::BTEqualStrategyNumber, INT8_EQUAL, name)];
    let now = &raw mut pg_sys::SnapshotSelfData;
    Scan::open(segment::shape_table()?, &equal, now, ScanDirection::ForwardScanDirection)
}

/// The transaction ended. One that is prepared is seen by nobody yet.
pub fn settle(committed: bool) {
    // A process that ends in the middle of a push may still hold it.
    STORED.with(|stored| {
        if let Ok(mut stored) = stored.try_borrow_mut()
            && !stored.is_empty()
        {
            stored.clear();
            if !committed {
                forget();
            }
        }
    });
}

/// A savepoint was rolled back. What it stored has a number as high as its own, or higher.
pub fn subabort(mine: pg_sys::SubTransactionId) {
    let gone = STORED.with_borrow_mut(|stored| {
        let before = stored.len();
        stored.retain(|&at| at < mine);
        stored.len() < before
    });
    if gone {
        forget();
    }
}

/// Something that was stored may be gone: the log itself, perhaps.
pub fn forget() {
    AGE.set(AGE.get() + 1);
}
