//! Reading the rows of a set, a page at a time.

use std::time::Duration;

use event_source_model::image::Image;
use event_source_model::source::Definition;
use pgrx::prelude::*;

use super::filtered::Filtered;
use super::select::{self, Columns, Select};
use crate::cage::account::{self, Payer};
use crate::cage::{self, Acting};
use crate::capture::Selected;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::pg::lock_wait::ShortLockWait;
use crate::pg::relation::Relation;
use crate::pg::wal;
use crate::source;

/// Rows that one statement looks at. Its result is held whole, but for what is stored out of line: some
/// megabytes.
const LOOKED_AT: u32 = 1_001;
/// How long the worker waits for a table that somebody has locked.
pub(crate) const LOCK_WAIT: Duration = Duration::from_millis(50);
/// Bytes of images after which a page ends.
const MOST_BYTES: usize = 1024 * 1024;

/// Some rows of a set.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    /// The key behind which there may be more.
    pub(crate) next: Option<Vec<String>>,
    /// Rows looked at.
    pub(crate) looked_at: u32,
}

/// A row of a set.
#[derive(Debug)]
pub(crate) struct Row {
    /// The texts of its primary key.
    pub(crate) key: Vec<String>,
    pub(crate) image: Image,
}

/// Reads up to `limit` rows behind the key `after`, of at most [`LOOKED_AT`]: fewer do not say that there
/// are no more, no `next` does.
///
/// # Errors
/// The table has no primary key, or a value of the set or of `after` is none of its column's type;
/// [`Kind::Contended`] when the table is locked.
///
/// What is given out is flushed: the reader will follow the log from here, and after a crash the log
/// would never say that a row is gone which was never there.
pub(crate) fn page(definition: &Definition, after: Option<&[String]>, limit: u32) -> Result<Rows> {
    let table = source::relation_of(definition.collection)?
        .and_then(Relation::peek)
        .ok_or_else(|| Error::new(Kind::SourceGone, "the table is no longer captured"))?;
    let columns = Selected::of(table.oid(), definition.fields.as_deref());
    let (role, owner) = (source::role(&definition.role)?, source::owner(table.oid()));
    // Without a filter each row is one of those wanted, and one more tells whether there are more.
    let all = definition.filter.is_none();
    let look = if all { limit.saturating_add(1).min(LOOKED_AT) } else { LOOKED_AT };
    let rows = account::spend(Payer::of_statement(role), |longest| {
        cage::run_for(longest, || {
            let _patience = ShortLockWait::at_most(LOCK_WAIT);
            let mut filtered = Filtered::of(definition, role, owner, &table)?;
            let read = Columns::of(&columns, &filtered);
            let _acting = Acting::as_role(owner);
            let select = Select::of(definition, &table, &read, after, look)?;
            Reading { select, columns: &columns, filtered: &mut filtered }.rows(limit, look)
        })
    });
    let rows = rows.map_err(|error| match after {
        Some(key) if error.kind == Kind::EvaluationFailed && !is_key(&table, owner, key) => {
            Error::new(Kind::InvalidCursor, "the cursor is of another table")
        }
        _ => error,
    })?;
    wal::flush_inserted();
    Ok(rows)
}

/// Whether these are texts of the primary key's types.
fn is_key(table: &Relation, owner: pg_sys::Oid, key: &[String]) -> bool {
    let read = cage::run(|| {
        let _acting = Acting::as_role(owner);
        select::check_key(table, key)
    });
    read.is_ok()
}

/// A statement that is about to be run.
struct Reading<'a> {
    select: Select<'a>,
    columns: &'a Selected,
    filtered: &'a mut Filtered,
}

impl Reading<'_> {
    /// `limit` rows of those that the statement finds, which looks at `look` of them.
    fn rows(self, limit: u32, look: u32) -> Result<Rows> {
        let failed =
            |error| Error::new(Kind::Corrupted, format!("the rows cannot be read: {error}"));
        Spi::connect(|client| {
            let found = client.select(&self.select.text, None, &self.select.values);
            let mut found = found.map_err(failed)?;
            let shown = self.columns.shape().columns.len();
            let count = shown + self.filtered.looked_at().map_or(0, |c| c.shape().columns.len());
            let mut rows = Rows { rows: Vec::new(), next: None, looked_at: 0 };
            let mut bytes = 0;
            while found.next().is_some() {
                if rows.rows.len() == limit as usize || bytes >= MOST_BYTES {
                    return Ok(rows);
                }
                rows.looked_at += 1;
                let key: Option<Vec<String>> = found.get(count + 2).map_err(failed)?;
                let key = key.expect("a primary key has columns, and none is null");
                rows.next = Some(key.clone());
                if found.get::<bool>(count + 1).map_err(failed)? != Some(true) {
                    continue;
                }
                let values: Vec<_> = (1..=count)
                    .map(|at| found.get_datum_by_ordinal(at))
                    .collect::<spi::SpiResult<_>>()
                    .map_err(failed)?;
                // SAFETY: the statement selects both kinds of columns in their order.
                let image = unsafe {
                    if !self.filtered.passes(&values[shown..])? {
                        continue;
                    }
                    self.columns.image(&values[..shown])
                };
                bytes += log::image_size(&image);
                rows.rows.push(Row { key, image });
            }
            if rows.looked_at < look {
                rows.next = None;
            }
            Ok(rows)
        })
    }
}
