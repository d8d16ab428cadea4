//! A filter as a test of a row: an expression, and the role as which it runs.

use std::hash::{Hash as _, Hasher as _};

use event_source_model::source::{Filter, Named};
use pgrx::pg_sys;
use rustc_hash::FxHasher;

use super::execution::Execution;
use super::table::Table;
use crate::cage::Acting;
use crate::cage::account::Payer;
use crate::error::Result;
use crate::pg::memory::Context;
use crate::pg::relation::Relation;

/// A filter of one or more sources, parsed.
#[derive(Debug)]
pub(super) struct FilterTest {
    /// A list of conditions, all of which must hold: null is false, as in a WHERE clause.
    conditions: *mut pg_sys::List,
    pub(super) columns: Vec<i16>,
    role: pg_sys::Oid,
    /// The filter's account is the role's.
    pub(super) payer: Payer,
    /// Owns `conditions`.
    _context: Context,
}

impl FilterTest {
    /// Parses a filter.
    ///
    /// # Errors
    /// A column or the role is gone, or the role may no longer have such a filter.
    pub(super) fn open(
        filter: &Filter,
        role: &Named,
        relation: &Relation,
        table: &Table,
    ) -> Result<Self> {
        filter.columns.iter().try_for_each(|(attnum, _)| table.check(*attnum))?;
        let role = crate::source::role(role)?;
        let context = Context::new(c"event_source filter");
        let entered = context.enter();
        let expression = crate::source::filter::parse_stored(filter, role, relation)?;
        // SAFETY: a boolean expression over the columns of relation 1, in our context.
        let (conditions, columns) = unsafe {
            (pg_sys::make_ands_implicit(expression), table.columns_of(expression.cast()))
        };
        drop(entered);
        let payer = Payer::of(role, hash(&filter.expression));
        Ok(Self { conditions, columns, role, payer, _context: context })
    }

    /// Whether the row that is shown passes.
    pub(super) fn passes(&self, number: usize, execution: &mut Execution) -> bool {
        // Preparing too: it checks the role's right to call the functions.
        let _acting = Acting::as_role(self.role);
        let prepared = execution.filter(number, |state| {
            // SAFETY: preparing copies the conditions, which are alive, into the executor state.
            unsafe { pg_sys::ExecPrepareQual(self.conditions, state) }
        });
        // SAFETY: prepared with this execution.
        unsafe { execution.holds(prepared) }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    text.hash(&mut hasher);
    hasher.finish()
}
