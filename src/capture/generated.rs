//! Virtual generated columns: no version of a row holds them, so an image computes them.
//!
//! They are what a query of the whole table would show: of a partition it takes the root's
//! expressions as well. PostgreSQL allows only built-in functions in them. What cannot be computed,
//! like a division by zero, is null: a query could not show it either, and a writer's statement
//! must not fail because its table is captured. Runs in the writers' backends, on their only thread.

use pgrx::pg_sys;

use super::nested::Row;
use crate::compat;
use crate::pg::memory::Context;
use crate::pg::relation::Relation;
use crate::pg::subtransaction;

/// How to compute the virtual columns of a table.
#[derive(Debug)]
pub(super) struct Generated {
    /// The root's row type, none of whose columns counts as generated any more.
    row: pg_sys::TupleDesc,
    columns: Vec<Virtual>,
    /// Where the root's columns are in the relation, dropped ones left out.
    places: Vec<Place>,
    /// Owns the row type and the expressions.
    _context: Context,
}

#[derive(Clone, Copy, Debug)]
struct Virtual {
    expression: *mut pg_sys::Expr,
    /// Where its value goes in the relation's row.
    at: usize,
}

/// A column of the root and of the relation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) attnum: i16,
    pub(super) at: usize,
}

impl Generated {
    /// `None` when the root has no virtual columns.
    pub(super) fn of(root: pg_sys::Oid, places: Vec<Place>) -> Option<Self> {
        let root = Relation::peek(root)?;
        let context = Context::new(c"event_source virtual columns");
        let entered = context.enter();
        // SAFETY: the relation is open; what is made of it is in our context.
        let (found, row) = unsafe {
            let found = compat::virtual_columns(root.as_ptr());
            (found, pg_sys::CreateTupleDescCopy(root.tuple_desc()))
        };
        drop(entered);
        let columns: Vec<Virtual> = found
            .into_iter()
            .filter_map(|(attnum, expression)| {
                let place = places.iter().find(|place| place.attnum == attnum)?;
                Some(Virtual { expression, at: place.at })
            })
            .collect();
        (!columns.is_empty()).then_some(Self { row, columns, places, _context: context })
    }

    /// Puts the virtual columns into a row that was read from a tuple.
    ///
    /// # Safety
    /// `row` is a row of the relation that the places were given for.
    pub(super) unsafe fn compute(&self, row: &mut Row) {
        // SAFETY: the caller's.
        let computed = subtransaction::run(|| Ok(unsafe { self.evaluate(row, &self.columns) }));
        let values = computed.unwrap_or_else(|_| {
            // One of them cannot be computed; which, each one says for itself.
            let alone = |column| {
                // SAFETY: the caller's.
                let one = subtransaction::run(|| Ok(unsafe { self.evaluate(row, &[column]) }));
                one.ok().and_then(|values| values.first().copied().flatten())
            };
            self.columns.iter().copied().map(alone).collect()
        });
        for (column, value) in self.columns.iter().zip(values) {
            row.1[column.at] = value.is_none();
            row.0[column.at] = value.unwrap_or(pg_sys::Datum::null());
        }
    }

    /// The values of some columns, in the current memory context.
    ///
    /// # Safety
    /// As [`Generated::compute`].
    unsafe fn evaluate(&self, row: &Row, columns: &[Virtual]) -> Vec<Option<pg_sys::Datum>> {
        // SAFETY: the slot has the root's row type, with an entry for each of its columns; it and
        // the context are gone before this returns, the values belong to the caller's context.
        unsafe {
            let slot = pg_sys::MakeSingleTupleTableSlot(self.row, &pg_sys::TTSOpsVirtual);
            for attribute in 0..(*self.row).natts as usize {
                *(*slot).tts_isnull.add(attribute) = true;
            }
            for place in &self.places {
                let attribute = place.attnum as usize - 1;
                *(*slot).tts_values.add(attribute) = row.0[place.at];
                *(*slot).tts_isnull.add(attribute) = row.1[place.at];
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            let context = pg_sys::CreateStandaloneExprContext();
            (*context).ecxt_scantuple = slot;
            let values = columns.iter().map(|column| {
                let state = pg_sys::ExecInitExpr(column.expression, std::ptr::null_mut());
                let mut is_null = false;
                let value = pg_sys::ExecEvalExpr(state, context, &mut is_null);
                (!is_null).then_some(value)
            });
            let values = values.collect();
            pg_sys::FreeExprContext(context, true);
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            values
        }
    }
}
