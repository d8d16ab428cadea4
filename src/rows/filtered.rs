//! Where a source's filter is asked: in the statement that reads its rows, or of each row.
//!
//! The statement is the table owner's. A filter of that role, or one that calls nothing that an ordinary role has
//! written, means the same in it, and can use an index. Any other runs as its own role, one row after the other.

use event_source_model::image::Image;
use event_source_model::net::NetChange;
use event_source_model::source::{Definition, Set, Types};
use pgrx::pg_sys;

use crate::capture::Selected;
use crate::error::Result;
use crate::matching::Evaluator;
use crate::pg::relation::Relation;
use crate::settings;
use crate::source::filter;

/// A source's filter.
#[derive(Debug)]
pub(super) enum Filtered {
    /// As SQL; `true` where there is none.
    ByStatement(String),
    ByRow(Box<RowFilter>),
}

/// A filter that is asked of each row.
#[derive(Debug)]
pub(super) struct RowFilter {
    evaluator: Evaluator,
    /// The columns that it looks at, and the key's.
    pub(super) columns: Selected,
    collection: u64,
}

impl Filtered {
    /// Called in a cage.
    ///
    /// # Errors
    /// The filter no longer fits the table, or its role may no longer have it.
    pub(super) fn of(
        definition: &Definition,
        role: pg_sys::Oid,
        owner: pg_sys::Oid,
        table: &Relation,
    ) -> Result<Self> {
        let Some(filter) = &definition.filter else {
            return Ok(Self::ByStatement("true".to_owned()));
        };
        if role == owner || !settings::user_functions() {
            return Ok(Self::ByStatement(filter::written(filter, role, table)?));
        }
        let alone = Definition {
            set: Set::Collection,
            fields: None,
            projection: None,
            watch: None,
            types: Types::ALL,
            every_delete: false,
            ..definition.clone()
        };
        let columns: Vec<i16> = filter.columns.iter().map(|(attnum, _)| *attnum).collect();
        Ok(Self::ByRow(Box::new(RowFilter {
            evaluator: Evaluator::open(&alone)?,
            columns: Selected::of(table.oid(), Some(&columns)),
            collection: definition.collection,
        })))
    }

    pub(super) fn statement(&self) -> String {
        match self {
            Self::ByStatement(filter) => filter.clone(),
            Self::ByRow(_) => "true".to_owned(),
        }
    }

    pub(super) fn looked_at(&self) -> Option<&Selected> {
        match self {
            Self::ByStatement(_) => None,
            Self::ByRow(filter) => Some(&filter.columns),
        }
    }

    /// Whether a row passes that the statement found; `values` are those of the columns that are looked at.
    ///
    /// # Errors
    /// The filter fails on the row.
    ///
    /// # Safety
    /// There is one value for each of those columns, of its type.
    pub(super) unsafe fn passes(&mut self, values: &[Option<pg_sys::Datum>]) -> Result<bool> {
        let Self::ByRow(filter) = self else { return Ok(true) };
        // SAFETY: the caller's.
        let row: Image = unsafe { filter.columns.image(values) };
        let change = NetChange {
            collection: filter.collection,
            key: None,
            before: None,
            after: Some(row),
            rewrite: false,
        };
        Ok(filter.evaluator.evaluate(&change)?.is_some())
    }
}
