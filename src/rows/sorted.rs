//! The rows of a set in an order that the reader chose, some of them left out at both ends.
//!
//! PostgreSQL sorts, under the deadline of all expressions; what it finds is fetched a few rows at a time
//! and given out whole, or not at all when it is too much.

use std::mem::ManuallyDrop;

use event_source_model::image::Image;
use event_source_model::source::Definition;
use pgrx::prelude::*;

use super::page::LOCK_WAIT;
use super::select::Select;
use crate::capture::Selected;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::matching::guarded;
use crate::pg::lock_wait::ShortLockWait;
use crate::pg::relation::Relation;
use crate::pg::role::ActingAs;
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
    let role = source::role(&definition.role)?;
    let rows = guarded(|| {
        let _patience = ShortLockWait::at_most(LOCK_WAIT);
        let select = Select::sorted(definition, &table, &columns, sorting)?;
        // The filter is the role's own.
        let _acting = ActingAs::restricted(role);
        read(&select, &columns)
    })?;
    wal::flush_inserted();
    Ok(rows)
}

/// Each fetch is a session of SPI, which frees what it found when it ends.
fn read(select: &Select, columns: &Selected) -> Result<Vec<Image>> {
    let values: Vec<_> = select.values.iter().map(|value| value.as_str().into()).collect();
    let name = Spi::connect(|client| {
        let cursor = client.try_open_cursor(&select.text, &values);
        cursor.map(spi::SpiCursor::detach_into_name)
    });
    let name = name.map_err(failed)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while fetch(&name, columns, &mut rows, &mut bytes)? {
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

/// Whether there may be more.
fn fetch(name: &str, columns: &Selected, rows: &mut Vec<Image>, bytes: &mut usize) -> Result<bool> {
    let count = columns.shape().columns.len();
    Spi::connect(|client| {
        // Whatever ends the subtransaction closes it: not to be closed a second time on the way there.
        let mut cursor = ManuallyDrop::new(client.find_cursor(name)?);
        let mut found = cursor.fetch(PIECE)?;
        let before = rows.len();
        while *bytes <= MOST_BYTES && found.next().is_some() {
            let values: Vec<_> = (1..=count)
                .map(|at| found.get_datum_by_ordinal(at))
                .collect::<spi::SpiResult<_>>()?;
            // SAFETY: the statement selects the columns in their order.
            let image = unsafe { columns.image(&values) };
            *bytes += log::image_size(&image);
            rows.push(image);
        }
        Ok(rows.len() > before)
    })
    .map_err(failed)
}

fn failed(error: spi::SpiError) -> Error {
    Error::new(Kind::Corrupted, format!("the rows cannot be read: {error}"))
}
