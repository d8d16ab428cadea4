//! Which tables are captured, by whose id.
//!
//! Runs in backends and in the worker; reads only.

use event_source_model::event::View;
use event_source_model::position::Position;
use event_source_model::source::Definition;
use pgrx::pg_sys;

use super::private::{self, AsOf, Lookup, Row};
use super::privileges;
use crate::error::{Error, Kind, Result};

/// The column of `event_source.capture`.
const BREAKS: i16 = 6;

/// A captured table.
#[derive(Clone, Debug)]
pub(crate) struct Collection {
    pub id: u64,
    /// Of a partitioned table the root.
    pub relation: pg_sys::Oid,
    /// What the JSON protocols call it.
    pub name: String,
    /// What LoopBack's paths call it.
    plural: String,
    /// For each schema break a time below it, at which everybody else was locked out already.
    breaks: Vec<i64>,
}

impl Collection {
    fn read(row: &Row) -> Option<Self> {
        Some(Self {
            id: row.get::<i64>(1)? as u64,
            relation: row.get::<pg_sys::Oid>(2)?,
            name: row.get::<String>(3)?,
            plural: row.get::<String>(4)?,
            breaks: row.get::<Vec<i64>>(BREAKS)?,
        })
    }

    /// How many schema breaks there were.
    pub(super) fn generation(&self) -> u32 {
        self.breaks.len() as u32
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
        Self::by_id(definition.collection)?.ok_or_else(gone)
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

    /// Every capture whose table is there.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let all = private::rows(c"capture", None, AsOf::Now, Self::read)?;
        Ok(all.into_iter().filter(|c| exists(c.relation)).collect())
    }

    /// The capture that the JSON protocols call so: exactly, or ignoring case where it is the only one of
    /// those that the role may read.
    ///
    /// # Errors
    /// It could be several.
    pub(crate) fn by_name(name: &str, role: pg_sys::Oid) -> Result<Option<Self>> {
        Self::called(name, role, |c| &c.name)
    }

    /// As [`Self::by_name`], by its plural.
    ///
    /// # Errors
    /// It could be several.
    pub(crate) fn by_plural(plural: &str, role: pg_sys::Oid) -> Result<Option<Self>> {
        Self::called(plural, role, |c| &c.plural)
    }

    fn called(text: &str, role: pg_sys::Oid, by: fn(&Self) -> &str) -> Result<Option<Self>> {
        let all = Self::all()?;
        let exact: Vec<&Self> = all.iter().filter(|c| by(c) == text).collect();
        // One that the role may not read is refused for that.
        if let [only] = exact[..] {
            return Ok(Some(only.clone()));
        }
        let lower = text.to_lowercase();
        let folded = all.iter().filter(|c| by(c).to_lowercase() == lower);
        let could_be = if exact.is_empty() { folded.collect() } else { exact };
        let mut readable =
            could_be.into_iter().filter(|c| privileges::may_read_some(role, c.relation));
        match (readable.next(), readable.next()) {
            (Some(_), Some(_)) => Err(Error::new(
                Kind::InvalidParameter,
                format!("several collections are called \"{text}\""),
            )
            .hint("give one of them another name: event_source.capture(..., name => ..., plural => ...)")),
            (found, _) => Ok(found.cloned()),
        }
    }

    /// The capture of a table, for a source that starts where the statement's snapshot ends.
    ///
    /// # Errors
    /// A snapshot older than the capture is refused: what committed between the two is in nobody's
    /// log and in none of the rows that the statement sees.
    pub(crate) fn seen_by_statement(relation: pg_sys::Oid, name: &str) -> Result<Self> {
        let now = Self::of_relation(relation, AsOf::Now)?.ok_or_else(|| {
            Error::new(Kind::NotCaptured, format!("table {name} is not captured")).hint(format!(
                "its owner can run SELECT event_source.capture({})",
                pgrx::spi::quote_literal(name)
            ))
        })?;
        match Self::of_relation(relation, AsOf::Statement)? {
            Some(seen) if seen.id == now.id && seen.breaks == now.breaks => Ok(now),
            Some(seen) if seen.id == now.id => Err(Error::new(
                Kind::SnapshotTooOld,
                format!("the snapshot is older than a schema change of table {name}"),
            )
            .hint("run it again in a new transaction")),
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

/// Whether a reader of the source may go on behind the position. Up to the break that ended the
/// source's generation it may: the log says where that is.
///
/// # Errors
/// [`Kind::SchemaChanged`], and when the collection is gone.
pub(crate) fn check_generation(definition: &Definition, position: &Position) -> Result<()> {
    let breaks = Collection::of(definition)?.breaks;
    match breaks.get(definition.generation as usize) {
        Some(&end) if position.txn_ts >= end => Err(schema_break()),
        _ => Ok(()),
    }
}

/// How many schema breaks the collection had so far.
///
/// # Errors
/// The collection is gone.
pub(crate) fn generation_of(collection: u64) -> Result<u32> {
    Collection::by_id(collection)?.map(|c| c.generation()).ok_or_else(gone)
}

/// What a source ends with at a schema break.
pub(crate) fn schema_break() -> Error {
    Error::new(
        Kind::SchemaChanged,
        "the table of the event source was rewritten or has another primary key",
    )
    .hint("read the table anew and go on with a new event source")
}

/// How the source's events are shown.
///
/// # Errors
/// The collection is gone.
pub(crate) fn view(definition: &Definition) -> Result<View> {
    Ok(View {
        collection: Collection::of(definition)?.name,
        fields: definition.fields.clone(),
        projection: definition.projection.clone(),
        history: crate::order::history_id(),
    })
}

fn gone() -> Error {
    Error::new(Kind::SourceGone, "the table of the event source is no longer captured")
        .hint("a table that is captured again needs new event sources")
}

fn exists(relation: pg_sys::Oid) -> bool {
    // SAFETY: looks it up in the catalogs.
    unsafe { pg_sys::get_rel_relkind(relation) != 0 }
}
