//! Segments from which something was erased get new files, without it.
//!
//! Runs in the keeper. Nobody waits in a queue for it: the locks are taken only if they are free.
//! Readers of that one segment wait while it is copied, which is why writers are sent elsewhere
//! first. What an old snapshot may still see is not copied away: the keeper waits for it to end.

use std::collections::BTreeSet;

use pgrx::prelude::*;

use super::empty::Whole;
use super::segment;
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;
use crate::pg::role::ActingAs;
use crate::pg::snapshot::ActiveSnapshot;

/// The segments from which something was erased.
#[derive(Debug, Default)]
pub struct Erasures {
    /// Nobody can see any more what was erased.
    pub due: BTreeSet<usize>,
    /// Some snapshot still can.
    pub waiting: BTreeSet<usize>,
}

/// What was erased and is still in the files. In a transaction.
pub fn erasures() -> Result<Erasures> {
    let table = Relation::open(segment::stamp_table(0)?, pg_sys::AccessShareLock as _);
    // SAFETY: the relation is open.
    let horizon = unsafe { compat::oldest_needed(table.as_ptr()) };
    // SPI reads only under one, and it is no part of the horizon above.
    let _snapshot = ActiveSnapshot::latest();
    let _owner = ActingAs::owner_of(&table);
    let rows = Spi::connect(|client| {
        let rows =
            client.select("select segment, xid::xid from event_source.erasure", None, &[])?;
        rows.map(|row| Ok((row.get::<i16>(1)?, row.get::<pg_sys::TransactionId>(2)?)))
            .collect::<spi::SpiResult<Vec<_>>>()
    });
    let mut erasures = Erasures::default();
    for row in rows.map_err(damaged)? {
        let (Some(segment), Some(xid)) = row else { continue };
        // SAFETY: compares two numbers.
        let over = unsafe { pg_sys::TransactionIdPrecedes(xid, horizon) };
        let of = if over { &mut erasures.due } else { &mut erasures.waiting };
        of.insert(segment as usize);
    }
    erasures.due.retain(|segment| !erasures.waiting.contains(segment));
    Ok(erasures)
}

/// Gives a segment new files; `false` when somebody holds on to it. To be committed by the caller.
pub fn rewrite(segment: usize) -> Result<bool> {
    let tables = [segment::stamp_table(segment)?, segment::change_table(segment)?];
    for table in tables {
        // The locks stay to the end of the transaction.
        if Whole::lock(table).is_none() {
            return Ok(false);
        }
    }
    let erasures = segment::table("erasure")?;
    // SAFETY: takes any OID.
    let free = unsafe {
        pg_sys::ConditionalLockRelationOid(erasures, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE)
    };
    if !free {
        return Ok(false);
    }
    let statements = [
        format!("cluster event_source.stamp_{segment} using stamp_{segment}_txn_ts"),
        format!("cluster event_source.change_{segment} using change_{segment}_place"),
        format!("delete from event_source.erasure where segment = {segment}"),
    ];
    let owner = ActingAs::owner_of(&Relation::open(tables[0], pg_sys::AccessShareLock as _));
    // SPI runs utility statements only under one.
    let _snapshot = ActiveSnapshot::latest();
    Spi::connect_mut(|client| {
        statements.iter().try_for_each(|sql| client.update(sql.as_str(), None, &[]).map(drop))
    })
    .map_err(damaged)?;
    drop(owner);
    Ok(true)
}

fn damaged(error: spi::SpiError) -> Error {
    Error::new(Kind::Corrupted, format!("could not rewrite the change log: {error}"))
}
