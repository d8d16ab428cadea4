//! The table of prepared transactions that captured something and have no stamp yet.
//!
//! A row is written by PREPARE TRANSACTION, below the executor as everything in the log, and
//! deleted by whoever writes the stamp. It guarantees that a look finds exactly the rows whose
//! transaction was committed when the look began, unless its stamp is committed too. Runs in backends and in the
//! worker; never calls code of users. [`crate::order::prepared`] says what rests on it.
//!
//! Every stored row is looked at and tested here, rather than scanned for under a snapshot: in a
//! SERIALIZABLE transaction that would leave predicate locks, which would make other people's
//! transactions fail.

use std::ffi::CStr;

use pgrx::datum::{FromDatum, IntoDatum};
use pgrx::pg_sys;

use super::table;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;
use crate::pg::snapshot::ActiveSnapshot;

const NAME: &CStr = c"prepared";

/// The columns, from 1, as `sql/prepared.sql` lays them out.
mod column {
    pub(super) const XID: i32 = 1;
    pub(super) const PREPARED_AT: i32 = 2;
    pub(super) const SEGMENT: i32 = 3;
    pub(super) const COLLECTIONS: i32 = 4;
    pub(super) const CHANGES: i32 = 5;
    pub(super) const BY_KEY: i32 = 6;
}

/// What a prepared transaction's stamp will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub xid: i64,
    /// A reading of the clock at PREPARE; gives the order of stamping.
    pub prepared_at: i64,
    pub segment: usize,
    pub collections: Vec<u64>,
    pub changes: i64,
    pub by_key: bool,
}

/// What became of a row's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Neither committed nor rolled back when the look began.
    Open,
    /// Committed, and there is no stamp that is committed too.
    Unstamped,
}

/// The open table; the lock goes with it or stays, as asked for.
#[derive(Debug)]
pub struct Table(Relation);

impl Table {
    /// Open for looking; `None` in a database without the extension.
    pub fn to_look() -> Option<Self> {
        oid().map(|oid| Self(Relation::open(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE)))
    }

    /// Open for changing, locked to the end of the transaction.
    ///
    /// # Errors
    /// [`Kind::NotCaptured`] in a database without the extension.
    pub fn to_change() -> Result<Self> {
        let oid = oid().ok_or_else(|| {
            Error::new(Kind::NotCaptured, "this database has no change log")
                .hint("CREATE EXTENSION event_source")
        })?;
        Ok(Self(Relation::open_kept(oid, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE)))
    }

    pub fn oid(&self) -> pg_sys::Oid {
        self.0.oid()
    }

    /// Writes the row of this transaction.
    pub fn insert(&self, row: Prepared) {
        let collections: Vec<i64> = row.collections.iter().map(|&c| c as i64).collect();
        // PREPARE TRANSACTION has none of its own.
        let _snapshot = ActiveSnapshot::ensure();
        table::insert_only(
            &self.0,
            &[
                Some(row.xid.into()),
                Some(row.prepared_at.into()),
                Some((row.segment as i16).into()),
                collections.into_datum(),
                Some(row.changes.into()),
                Some(row.by_key.into()),
            ],
        );
    }

    /// Deletes a row that a look found.
    pub fn delete(&self, mut tid: pg_sys::ItemPointerData) {
        // Nor has a commit that gives out stamps.
        let _snapshot = ActiveSnapshot::ensure();
        // SAFETY: the relation is open and locked; the row is there, since only the holder of the
        // stamping lock deletes.
        unsafe { pg_sys::simple_heap_delete(self.0.as_ptr(), &mut tid) }
    }

    /// Calls `visit` with every row whose transaction is not over yet or waits for its stamp.
    pub fn look(&self, mut visit: impl FnMut(State, &Row) -> Result<()>) -> Result<()> {
        let _latest = ActiveSnapshot::latest();
        // SAFETY: there is one, and it stays until we return.
        let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
        let running = Running::of(snapshot);
        let mut rows = Rows::of(&self.0);
        while let Some(row) = rows.next() {
            if let Some(state) = state(&row, snapshot, &running) {
                visit(state, &row)?;
            }
        }
        Ok(())
    }

    /// The highest `prepared_at` of any row, whatever became of its transaction.
    pub fn newest_ever(&self) -> Result<i64> {
        let mut newest = 0;
        let mut rows = Rows::of(&self.0);
        while let Some(row) = rows.next() {
            newest = newest.max(row.get::<i64>(column::PREPARED_AT)?);
        }
        Ok(newest)
    }
}

/// What is committed and has no stamp, and where its row is.
pub fn unstamped() -> Result<Vec<(Prepared, pg_sys::ItemPointerData)>> {
    let mut found = Vec::new();
    if let Some(table) = Table::to_look() {
        table.look(|state, row| {
            if state == State::Unstamped {
                found.push((row.read()?, row.tid()));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The transactions that the active snapshot sees without seeing their stamps.
pub fn seen_unstamped() -> Result<Vec<u64>> {
    let Some(table) = Table::to_look() else { return Ok(Vec::new()) };
    // SAFETY: the caller has pushed one, and it stays until we return.
    let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
    let running = Running::of(snapshot);
    let mut xids = Vec::new();
    let mut rows = Rows::of(&table.0);
    while let Some(row) = rows.next() {
        if !running.includes(row.made_by()) && row.is_seen_by(snapshot) {
            xids.push(row.get::<i64>(column::XID)? as u64);
        }
    }
    Ok(xids)
}

/// Which transactions run as a snapshot sees it, in order.
///
/// Only spares work: PostgreSQL's own test of each row searches all running transactions, which
/// with thousands of prepared ones would take a look a tenth of a second.
struct Running(Vec<pg_sys::TransactionId>);

impl Running {
    fn of(snapshot: pg_sys::Snapshot) -> Self {
        // SAFETY: a snapshot that lives until the next one is taken at least; the arrays are as long
        // as it says. On a standby all transactions are among the subtransactions.
        let mut xids = unsafe {
            let mut xids = copied((*snapshot).xip, (*snapshot).xcnt as usize);
            xids.extend(copied((*snapshot).subxip, (*snapshot).subxcnt.unsigned_abs() as usize));
            xids
        };
        xids.sort_unstable();
        Self(xids)
    }

    fn includes(&self, xid: pg_sys::TransactionId) -> bool {
        self.0.binary_search(&xid).is_ok()
    }
}

/// What became of a row's transaction; `None` when it is over: rolled back, or its stamp is
/// committed.
///
/// Which ones count as committed, the snapshot says for all rows at once. Each row by its state at
/// the moment in which it is tested would not do: while the rows are walked through, one whose row
/// is behind us may commit, and then another one that depends on it, whose row is still to come. It
/// would be found alone, and stamped first.
fn state(row: &Row, snapshot: pg_sys::Snapshot, running: &Running) -> Option<State> {
    let made_by = row.made_by();
    if running.includes(made_by) {
        return Some(State::Open);
    }
    // Committed, and not deleted by this transaction or by anybody who committed.
    if row.is_seen_by(&raw mut pg_sys::SnapshotSelfData) {
        let counts = row.is_seen_by(snapshot);
        return Some(if counts { State::Unstamped } else { State::Open });
    }
    // SAFETY: only asks.
    let open = !row.is_decided() && unsafe { pg_sys::TransactionIdIsInProgress(made_by) };
    open.then_some(State::Open)
}

/// # Safety
/// There are `count` of them at `first`, unless that is null.
unsafe fn copied(first: *const pg_sys::TransactionId, count: usize) -> Vec<pg_sys::TransactionId> {
    // A copied snapshot keeps the count of subtransactions, without them, when there were too many.
    if count == 0 || first.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(first, count) }.to_vec()
}

/// A row, while the scan stands on it.
pub struct Row {
    tuple: pg_sys::HeapTuple,
    buffer: pg_sys::Buffer,
    desc: pg_sys::TupleDesc,
}

impl Row {
    pub fn tid(&self) -> pg_sys::ItemPointerData {
        // SAFETY: the scan holds the tuple.
        unsafe { (*self.tuple).t_self }
    }

    pub fn segment(&self) -> Result<usize> {
        Ok(self.get::<i16>(column::SEGMENT)? as usize)
    }

    pub fn read(&self) -> Result<Prepared> {
        Ok(Prepared {
            xid: self.get(column::XID)?,
            prepared_at: self.get(column::PREPARED_AT)?,
            segment: self.segment()?,
            collections: self
                .get::<Vec<i64>>(column::COLLECTIONS)?
                .into_iter()
                .map(|c| c as u64)
                .collect(),
            changes: self.get(column::CHANGES)?,
            by_key: self.get(column::BY_KEY)?,
        })
    }

    /// A column, copied; `T` must be what its type is.
    fn get<T: FromDatum>(&self, column: i32) -> Result<T> {
        let mut null = false;
        // SAFETY: the scan holds the tuple, and `sql/prepared.sql` declares the column as T.
        let value = unsafe {
            let datum = pg_sys::heap_getattr(self.tuple, column, self.desc, &mut null);
            T::from_datum(datum, null)
        };
        value.ok_or_else(|| {
            Error::new(Kind::Corrupted, "a row of event_source.prepared is damaged")
                .hint("undo whatever was changed in schema event_source by hand")
        })
    }

    /// The transaction that wrote it: PREPARE writes at the top level, so it is the prepared one.
    fn made_by(&self) -> pg_sys::TransactionId {
        // SAFETY: as above; the raw xmin is never overwritten.
        unsafe { (*(*self.tuple).t_data).t_choice.t_heap.t_xmin }
    }

    fn is_seen_by(&self, snapshot: pg_sys::Snapshot) -> bool {
        // SAFETY: the scan has pinned the buffer; the lock is what the test asks for.
        unsafe {
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let seen = pg_sys::HeapTupleSatisfiesVisibility(self.tuple, snapshot, self.buffer);
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            seen
        }
    }

    /// The test of visibility has noted that the transaction committed or was rolled back.
    fn is_decided(&self) -> bool {
        // SAFETY: as above.
        let mask = u32::from(unsafe { (*(*self.tuple).t_data).t_infomask });
        mask & (pg_sys::HEAP_XMIN_COMMITTED | pg_sys::HEAP_XMIN_INVALID) != 0
    }
}

/// Every row that is stored, dead or alive.
struct Rows {
    scan: pg_sys::TableScanDesc,
    desc: pg_sys::TupleDesc,
}

impl Rows {
    fn of(heap: &Relation) -> Self {
        // A constant of the server.
        let any = &raw mut pg_sys::SnapshotAnyData;
        let none = std::ptr::null_mut();
        // SAFETY: the relation is open and locked. Not synchronized with other scans: it starts at
        // the first row.
        let scan =
            unsafe { pg_sys::table_beginscan_strat(heap.as_ptr(), any, 0, none, true, false) };
        Self { scan, desc: heap.tuple_desc() }
    }

    fn next(&mut self) -> Option<Row> {
        pgrx::check_for_interrupts!();
        // SAFETY: the scan is open, and of a heap table, so it is a heap's.
        unsafe {
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let tuple = pg_sys::heap_getnext(self.scan, forward);
            let buffer = (*self.scan.cast::<pg_sys::HeapScanDescData>()).rs_cbuf;
            (!tuple.is_null()).then_some(Row { tuple, buffer, desc: self.desc })
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // While an ERROR unwinds, the abort of the transaction ends the scan.
        if !std::thread::panicking() {
            // SAFETY: begun by this handle and ended only here.
            unsafe { pg_sys::table_endscan(self.scan) }
        }
    }
}

fn oid() -> Option<pg_sys::Oid> {
    // SAFETY: looks both names up in the catalogs.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(c"event_source".as_ptr(), true);
        pg_sys::get_relname_relid(NAME.as_ptr(), schema)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}
