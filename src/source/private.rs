//! The extension's own tables: captures, signing keys, secrets, revocations, histories.
//!
//! No user may read or write them, so reads go below the executor: no privilege and no transaction
//! id is needed, which makes them work on a standby and in parallel queries too. Runs in backends
//! and in the worker, and never calls code of users. Writes act as the owner of the tables.

use std::ffi::CStr;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;
use crate::pg::role::ActingAs;

/// As of when a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsOf {
    /// What the calling statement sees.
    Statement,
    /// What is committed now.
    Now,
}

/// A row to look up: `column = value`, by an index on that column.
pub(super) struct Lookup {
    pub index: &'static CStr,
    pub column: i16,
    /// The OID of the function behind the column's `=`.
    pub equal: u32,
    pub value: pg_sys::Datum,
}

/// A row, while the scan stands on it.
pub(super) struct Row {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
}

impl Row {
    /// The value of a column, copied; `None` for null. `T` must be what the column's type is.
    pub(super) fn get<T: FromDatum>(&self, column: i16) -> Option<T> {
        let mut null = false;
        // SAFETY: the scan holds the tuple, and `tables.sql` declares the column as T.
        unsafe {
            let datum = pg_sys::heap_getattr(self.tuple, column.into(), self.desc, &mut null);
            T::from_datum(datum, null)
        }
    }
}

/// Reads the rows of a table, or those that `lookup` finds.
pub(super) fn rows<T>(
    table: &'static CStr,
    lookup: Option<Lookup>,
    as_of: AsOf,
    mut read: impl FnMut(&Row) -> Option<T>,
) -> Result<Vec<T>> {
    let relation = open(table)?;
    // SAFETY: all zero is a valid key, filled below.
    let mut key: pg_sys::ScanKeyData = unsafe { std::mem::zeroed() };
    let (index, keys) = match lookup {
        None => (pg_sys::InvalidOid, 0),
        Some(lookup) => {
            // SAFETY: fills the key; the function is the equality of the column's type.
            unsafe {
                pg_sys::ScanKeyInit(
                    &mut key,
                    lookup.column,
                    pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                    pg_sys::Oid::from(lookup.equal),
                    lookup.value,
                );
            }
            (oid(lookup.index)?, 1)
        }
    };
    let snapshot = snapshot(as_of)?;
    let mut found = Vec::new();
    // SAFETY: the relation and the index are open or opened here, the key lives as long as the scan.
    unsafe {
        let scan = pg_sys::systable_beginscan(
            relation.as_ptr(),
            index,
            index != pg_sys::InvalidOid,
            snapshot,
            keys,
            &mut key,
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            found.extend(read(&Row { tuple, desc: relation.tuple_desc() }));
        }
        pg_sys::systable_endscan(scan);
    }
    Ok(found)
}

fn snapshot(as_of: AsOf) -> Result<pg_sys::Snapshot> {
    match as_of {
        // Null is the catalogs' own: of this moment for a table that sends no invalidations, and
        // allowed where GetLatestSnapshot is not (parallel mode).
        AsOf::Now => Ok(std::ptr::null_mut()),
        AsOf::Statement => {
            // SAFETY: only asks.
            if !unsafe { pg_sys::ActiveSnapshotSet() } {
                return Err(Error::new(Kind::WrongTransaction, "no snapshot is active"));
            }
            // SAFETY: there is one.
            Ok(unsafe { pg_sys::GetActiveSnapshot() })
        }
    }
}

/// Runs one statement that writes, as the owner of `table`; how many rows it returned.
pub(super) fn write(
    table: &'static CStr,
    statement: &'static str,
    values: &[DatumWithOid<'_>],
) -> Result<u64> {
    let _acting = ActingAs::owner_of(&open(table)?);
    let written = Spi::connect_mut(|client| {
        client.update(statement, None, values).map(|rows| rows.len() as u64)
    });
    written
        .map_err(|e| Error::new(Kind::Corrupted, format!("could not write a private table: {e}")))
}

/// The tables of which a row less or more may end what a stream was opened by.
///
/// # Errors
/// The extension is not there.
pub(crate) fn credential_tables() -> Result<[pg_sys::Oid; 3]> {
    Ok([oid(c"signing_key")?, oid(c"revocation")?, oid(c"secret")?])
}

fn open(table: &'static CStr) -> Result<Relation> {
    Ok(Relation::open(oid(table)?, pg_sys::AccessShareLock as pg_sys::LOCKMODE))
}

fn oid(name: &'static CStr) -> Result<pg_sys::Oid> {
    // SAFETY: looks both names up in the catalogs.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(c"event_source".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    if oid == pg_sys::InvalidOid {
        return Err(Error::new(
            Kind::NotCaptured,
            format!("there is no event_source.{}", name.to_string_lossy()),
        )
        .hint("run CREATE EXTENSION event_source in this database"));
    }
    Ok(oid)
}
