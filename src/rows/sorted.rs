//! The rows of a set in an order that the reader chose, some of them left out at both ends.
//!
//! PostgreSQL sorts, under the deadline of all expressions; what it finds is fetched a few rows at a time
//! and given out whole, or not at all when it is too much.

use std::mem::ManuallyDrop;

use event_source_model::image::Image;
use event_source_model::source::Definition;
use pgrx::prelude::*;

use super::filtered::Filtered;
use super::page::LOCK_WAIT;
use super::select::{Columns, Select};
use crate::cage::account::{self, Payer};
use crate::cage::{self, Acting};
use crate::capture::Selected;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::pg::lock_wait::ShortLockWait;
use crate::pg::relation::Relation;
use crate::pg::wal;
use crate::source;

/// Rows of one fetch.
const PIECE: i64 = 200;
/// Bytes of images that are given out: the worker, the door and the server hold them at the same time.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// Which rows, and in which order.
#[derive(Debug)]
pub(crate) struct Sorting {
    /// Columns, and whether the highest come first. Rows that are equal in them are in the order of the
    /// primary key.
    pub(crate) by: Vec<(String, bool)>,
    pub(crate) skip: u64,
    pub(crate) limit: Option<u32>,
}

/// # Errors
/// The table has no primary key, a column has no order, it takes too long or there is too much of it;
/// [`Kind::Contended`] when the table is locked.
pub(crate) fn sorted(definition: &Definition, sorting: &Sorting) -> Result<Vec<Image>> {
    let table = source::relation_of(definition.collection)?
        .and_then(Relation::peek)
        .ok_or_else(|| Error::new(Kind::SourceGone, "the table is no longer captured"))?;
    let columns = Selected::of(table.oid(), definition.fields.as_deref());
    let (role, owner) = (source::role(&definition.role)?, source::owner(table.oid()));
    let rows = account::spend(Payer::of_statement(role), |longest| {
        cage::run_for(longest, || {
            let _patience = ShortLockWait::at_most(LOCK_WAIT);
            let mut filtered = Filtered::of(definition, role, owner, &table)?;
            let read = Columns::of(&columns, &filtered);
            let _acting = Acting::as_role(owner);
            let select = Select::sorted(definition, &table, &read, sorting)?;
            let (skip, limit) = match filtered {
                Filtered::ByStatement(_) => (0, None),
                Filtered::ByRow(_) => (sorting.skip, sorting.limit),
            };
            Taken { selected: &columns, filtered: &mut filtered, skip, limit }.read(&select)
        })
    })?;
    wal::flush_inserted();
    Ok(rows)
}

/// What is taken of the rows that the statement finds.
struct Taken<'a> {
    selected: &'a Selected,
    filtered: &'a mut Filtered,
    /// Rows that pass the filter and are left out.
    skip: u64,
    limit: Option<u32>,
}

impl Taken<'_> {
    /// Each fetch is a session of SPI, which frees what it found when it ends.
    fn read(mut self, select: &Select) -> Result<Vec<Image>> {
        let name = Spi::connect(|client| {
            let cursor = client.try_open_cursor(&select.text, &select.values);
            cursor.map(spi::SpiCursor::detach_into_name)
        });
        let name = name.map_err(failed)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while self.fetch(&name, &mut rows, &mut bytes)? {
            if bytes > MOST_BYTES {
                return Err(Error::new(
                    Kind::LimitExceeded,
                    format!("the rows are more than {} MB", MOST_BYTES / 1024 / 1024),
                )
                .hint("ask for fewer rows, or for fewer columns"));
            }
        }
        Spi::connect(|client| client.find_cursor(&name).map(drop)).map_err(failed)?;
        Ok(rows)
    }

    fn is_full(&self, rows: &[Image]) -> bool {
        self.limit.is_some_and(|limit| rows.len() >= limit as usize)
    }

    /// Whether there may be more.
    fn fetch(&mut self, name: &str, rows: &mut Vec<Image>, bytes: &mut usize) -> Result<bool> {
        let shown = self.selected.shape().columns.len();
        let count = shown + self.filtered.looked_at().map_or(0, |c| c.shape().columns.len());
        Spi::connect(|client| {
            // Whatever ends the subtransaction closes it: not to be closed a second time on the way there.
            let mut cursor = ManuallyDrop::new(client.find_cursor(name).map_err(failed)?);
            let mut found = cursor.fetch(PIECE).map_err(failed)?;
            let mut any = false;
            while *bytes <= MOST_BYTES && !self.is_full(rows) && found.next().is_some() {
                any = true;
                let values: Vec<_> = (1..=count)
                    .map(|at| found.get_datum_by_ordinal(at))
                    .collect::<spi::SpiResult<_>>()
                    .map_err(failed)?;
                // SAFETY: the statement selects both kinds of columns in their order.
                if !unsafe { self.filtered.passes(&values[shown..])? } {
                    continue;
                }
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                // SAFETY: as above.
                let image = unsafe { self.selected.image(&values[..shown]) };
                *bytes += log::image_size(&image);
                rows.push(image);
            }
            Ok(any)
        })
    }
}

fn failed(error: spi::SpiError) -> Error {
    Error::new(Kind::Corrupted, format!("the rows cannot be read: {error}"))
}
