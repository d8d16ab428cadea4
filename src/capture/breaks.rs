//! Schema breaks: what changes all rows of a captured table, or what their key is, without an event
//! for each.
//!
//! A rewrite (ALTER COLUMN ... TYPE, a column with a volatile default) gives every row other values,
//! another primary key gives it another identity. Nobody can go on from the events before. The
//! break has its place in the log, so that every reader gets all that was before it and then an
//! error that says why; its time goes into `event_source.capture`, so that a cursor from behind
//! it does not let an older token go on. Runs in the backend of whoever alters the table, which
//! holds the exclusive lock on it.

use event_source_model::change::Change;
use pgrx::prelude::*;

use super::catalog;
use super::register::with_rights;
use super::trigger::VERSION_1;
use crate::error::{Result, raised};
use crate::order::shared;

/// `event_source.on_rewrite()`, the function of the event trigger that fires before a rewrite.
///
/// # Safety
/// Called by PostgreSQL.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_source_on_rewrite(
    _fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    raised(before_rewrite());
    pg_sys::Datum::null()
}

/// Tells PostgreSQL how [`event_source_on_rewrite`] is called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_event_source_on_rewrite() -> *const pg_sys::Pg_finfo_record {
    &raw const VERSION_1
}

fn before_rewrite() -> Result<()> {
    // Only the change of a column, or a new one, gives rows other values: SET ACCESS METHOD and the
    // like copy them.
    let table = with_rights(|| {
        let sql = "select case when pg_catalog.pg_event_trigger_table_rewrite_reason() & 6 <> 0
                   then pg_catalog.pg_event_trigger_table_rewrite_oid() end";
        Spi::connect(|client| client.select(sql, None, &[])?.first().get_one::<pg_sys::Oid>())
    })?;
    let Some(table) = table else { return Ok(()) };
    match catalog::capture_of(catalog::root_of(table)) {
        Some(collection) => mark(collection),
        None => Ok(()),
    }
}

/// The captures whose primary key is another one since the last look get a break.
pub(super) fn after_ddl() -> Result<()> {
    let rekeyed = with_rights(|| {
        Spi::connect_mut(|client| {
            let rows = client.update("select event_source.rekeyed()", None, &[])?;
            rows.map(|row| row.get::<i64>(1)).collect::<spi::SpiResult<Vec<_>>>()
        })
    })?;
    rekeyed.into_iter().flatten().try_for_each(|collection| mark(collection as u64))
}

/// Puts a break into the log and among those of the capture.
fn mark(collection: u64) -> Result<()> {
    crate::order::writable()?;
    // It reads the clock from the log where that is still to be done.
    crate::log::heartbeat()?;
    // Whoever wrote to the table has committed, for we hold its lock: with a stamp below this. Ours
    // will be at or above it.
    let time = shared::get()?.clock.last() + 1;
    let is_new = with_rights(|| {
        let sql = "select event_source.add_break($1, $2)";
        let arguments = [(collection as i64).into(), time.into()];
        Spi::connect_mut(|client| client.update(sql, None, &arguments)?.first().get_one::<bool>())
    })?;
    if is_new != Some(true) {
        // One statement rewrites each partition: that is one break.
        return Ok(());
    }
    // SAFETY: in a transaction that writes; marks the command id as used.
    let command = unsafe { pg_sys::GetCurrentCommandId(true) };
    crate::log::buffer::push(&Change::schema_break(collection, command))
}
