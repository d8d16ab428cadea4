//! What evaluation needs within one transaction: an executor state, the two rows of a change.
//!
//! It is made anew for each transaction and after each ERROR: functions may have been replaced or
//! left in the middle of their work, and privileges to call them are checked when an expression is
//! prepared.

use std::collections::HashMap;

use event_source_model::net::NetChange;
use pgrx::pg_sys;

use super::guard::Guard;
use super::row::Row;
use super::table::Table;
use crate::error::Result;
use crate::pg::memory::Context;

/// Before or after the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Before,
    After,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Before, Self::After];
}

/// An executor state with a row for each side of a change.
#[derive(Debug)]
pub(super) struct Execution {
    state: *mut pg_sys::EState,
    expressions: *mut pg_sys::ExprContext,
    rows: [Row; 2],
    /// Prepared filters, by their number in the collection.
    filters: HashMap<usize, *mut pg_sys::ExprState>,
    /// Owns everything that is pointed to.
    _context: Context,
}

impl Execution {
    pub(super) fn of(table: &Table) -> Self {
        let context = Context::new(c"event_source execution");
        let entered = context.enter();
        // SAFETY: both are made in our context and go with it.
        let (state, expressions) = unsafe {
            let state = pg_sys::CreateExecutorState();
            (state, pg_sys::MakePerTupleExprContext(state))
        };
        let rows = Side::BOTH.map(|_| Row::of(table));
        drop(entered);
        Self { state, expressions, rows, filters: HashMap::new(), _context: context }
    }

    pub(super) fn state(&self) -> *mut pg_sys::EState {
        self.state
    }

    /// The memory in which everything of one change is made.
    pub(super) fn memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: the expression context lives as long as `self`.
        unsafe { (*self.expressions).ecxt_per_tuple_memory }
    }

    /// Forgets the change before.
    pub(super) fn next_change(&mut self) {
        self.rows.iter_mut().for_each(Row::clear);
        // SAFETY: the rows, which pointed into this memory, are empty now.
        unsafe { pg_sys::MemoryContextReset(self.memory()) }
    }

    /// Makes a side of the change the row that expressions see, as far as they look at it; false
    /// when there is no such side.
    pub(super) fn show(
        &mut self,
        side: Side,
        change: &NetChange,
        table: &Table,
        attnums: &[i16],
        guard: Guard,
    ) -> Result<bool> {
        let image = match side {
            Side::Before => &change.before,
            Side::After => &change.after,
        };
        let Some(image) = image else { return Ok(false) };
        let row = &mut self.rows[side as usize];
        row.fill(table, image, attnums, guard)?;
        // SAFETY: both live as long as `self`.
        unsafe { (*self.expressions).ecxt_scantuple = row.slot() };
        Ok(true)
    }

    /// The row that expressions see now.
    pub(super) fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: as above.
        unsafe { (*self.expressions).ecxt_scantuple }
    }

    /// Whether a prepared predicate holds for the row that is shown.
    ///
    /// # Safety
    /// The predicate was prepared with [`Execution::state`], as a list of conditions.
    pub(super) unsafe fn holds(&self, predicate: *mut pg_sys::ExprState) -> bool {
        // SAFETY: the caller's promise.
        unsafe { pg_sys::ExecQual(predicate, self.expressions) }
    }

    /// The prepared form of a filter, made by `prepare` in the first change that needs it.
    pub(super) fn filter(
        &mut self,
        number: usize,
        prepare: impl FnOnce(*mut pg_sys::EState) -> *mut pg_sys::ExprState,
    ) -> *mut pg_sys::ExprState {
        *self.filters.entry(number).or_insert_with(|| prepare(self.state))
    }

    /// Has the filter prepared again, should it be asked for again.
    pub(super) fn forget_filter(&mut self, number: usize) {
        self.filters.remove(&number);
    }
}
