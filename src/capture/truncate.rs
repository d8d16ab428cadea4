//! The TRUNCATE triggers: each row that is there is deleted.
//!
//! The one before the table is emptied reads its rows, the one after it adds what was written in
//! between. Both run in the writer's backend, under the exclusive lock of TRUNCATE.

use pgrx::prelude::*;

use super::scan::{Fate, push_all};
use super::table::Table;
use super::trigger::{Call, VERSION_1};
use super::truncated;
use crate::error::{Error, Kind, Result, raised};

/// `event_source.capture_truncate(capture id)`, the trigger function.
///
/// # Safety
/// Called by PostgreSQL.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_source_capture_truncate(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: the caller's.
    raised(unsafe { Call::of(fcinfo) }.and_then(|call| capture(&call)));
    pg_sys::Datum::null()
}

/// Tells PostgreSQL how [`event_source_capture_truncate`] is called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_event_source_capture_truncate() -> *const pg_sys::Pg_finfo_record {
    &raw const VERSION_1
}

fn capture(call: &Call<'_>) -> Result<()> {
    const BEFORE: u32 = pg_sys::TRIGGER_EVENT_TRUNCATE | pg_sys::TRIGGER_EVENT_BEFORE;
    const AFTER: u32 = pg_sys::TRIGGER_EVENT_TRUNCATE | pg_sys::TRIGGER_EVENT_AFTER;
    const MASK: u32 = pg_sys::TRIGGER_EVENT_OPMASK | pg_sys::TRIGGER_EVENT_TIMINGMASK;
    let table = Table::of(call.relation);
    let Some(collection) = call.collection(&table)? else { return Ok(()) };
    match call.data.tg_event & MASK {
        BEFORE => {
            push_all(call.relation, &table, collection, Fate::Go)?;
            truncated::begin(call.relation.rd_id);
            Ok(())
        }
        AFTER => truncated::end(call.relation, collection),
        _ => {
            let message = "event_source.capture_truncate must be called by TRUNCATE";
            Err(Error::new(Kind::WrongTransaction, message))
        }
    }
}
