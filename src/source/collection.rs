//! Which tables are captured, by whose id.
//!
//! Runs in backends and in the worker; reads only.

use event_source_model::event::View;
use event_source_model::source::Definition;
use pgrx::pg_sys;

use super::private::{self, AsOf, Lookup, Row};
use crate::error::{Error, Kind, Result};

/// A captured table.
#[derive(Clone, Debug)]
pub(crate) struct Collection {
    pub id: u64,
    /// Of a partitioned table the root.
    pub relation: pg_sys::Oid,
    /// What the JSON protocols call it.
    pub name: String,
}

impl Collection {
    fn read(row: &Row) -> Option<Self> {
        Some(Self {
            id: row.get::<i64>(1)? as u64,
            relation: row.get::<pg_sys::Oid>(2)?,
            name: row.get::<String>(3)?,
        })
    }

    /// The capture of that id, `None` when it was released or its table is gone.
    pub(super) fn by_id(id: u64) -> Result<Option<Self>> {
        let lookup = Lookup {
            index: c"capture_pkey",
            column: 1,
            equal: pg_sys::F_INT8EQ,
            value: pg_sys::Datum::from(id as i64),
        };
        let found = private::rows(c"capture", Some(lookup), AsOf::Now, Self::read)?;
        Ok(found.into_iter().find(|c| exists(c.relation)))
    }

    /// As [`Self::by_id`], but an error for a source whose collection is gone.
    pub(super) fn of(definition: &Definition) -> Result<Self> {
        Self::by_id(definition.collection)?.ok_or_else(|| {
            Error::new(Kind::SourceGone, "the table of the event source is no longer captured")
                .hint("a table that is captured again needs new event sources")
        })
    }

    fn of_relation(relation: pg_sys::Oid, as_of: AsOf) -> Result<Option<Self>> {
        let lookup = Lookup {
            index: c"capture_relation_key",
            column: 2,
            equal: pg_sys::F_OIDEQ,
            value: pg_sys::Datum::from(relation),
        };
        Ok(private::rows(c"capture", Some(lookup), as_of, Self::read)?.into_iter().next())
    }

    /// The capture of a table, for a source that starts where the statement's snapshot ends.
    ///
    /// # Errors
    /// A snapshot older than the capture is refused: what committed between the two is in nobody's
    /// log and in none of the rows that the statement sees.
    pub(super) fn seen_by_statement(relation: pg_sys::Oid, name: &str) -> Result<Self> {
        let now = Self::of_relation(relation, AsOf::Now)?.ok_or_else(|| {
            Error::new(Kind::NotCaptured, format!("table {name} is not captured")).hint(format!(
                "its owner can run SELECT event_source.capture({})",
                pgrx::spi::quote_literal(name)
            ))
        })?;
        match Self::of_relation(relation, AsOf::Statement)? {
            Some(seen) if seen.id == now.id => Ok(now),
            _ => Err(Error::new(
                Kind::SnapshotTooOld,
                format!("the snapshot is older than the capture of table {name}"),
            )
            .hint("run it again in a new transaction")),
        }
    }
}

/// The table that a capture is about; of a partitioned table the root.
///
/// # Errors
/// Only when the extension's tables cannot be read.
pub(crate) fn relation_of(collection: u64) -> Result<Option<pg_sys::Oid>> {
    Ok(Collection::by_id(collection)?.map(|c| c.relation))
}

/// How the source's events are shown.
///
/// # Errors
/// The collection is gone.
pub(crate) fn view(definition: &Definition) -> Result<View> {
    Ok(View {
        collection: Collection::of(definition)?.name,
        fields: definition.fields.clone(),
        history: crate::order::history_id(),
    })
}

fn exists(relation: pg_sys::Oid) -> bool {
    // SAFETY: looks it up in the catalogs.
    unsafe { pg_sys::get_rel_relkind(relation) != 0 }
}
