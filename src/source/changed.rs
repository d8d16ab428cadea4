//! The trigger on the tables of tokens and secrets, which tells the workers of a change.
//!
//! Declared in `sql/source.sql`. Runs in whoever changes such a table; sends a message with its commit,
//! and does nothing else.

use pgrx::prelude::*;

use crate::error::{Error, Kind};

/// `event_source.credentials_changed()`, the trigger function.
///
/// # Safety
/// Called by PostgreSQL.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_source_credentials_changed(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: the caller's; the context of a trigger's call is TriggerData, and says so. The relation
    // of a trigger is open.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            Error::new(Kind::WrongTransaction, "not called as a trigger").raise();
        }
        let data = &*context.cast::<pg_sys::TriggerData>();
        // Committed with the transaction and replayed on standbys, as every change of a catalog is.
        pg_sys::CacheInvalidateRelcache(data.tg_relation);
    }
    pg_sys::Datum::null()
}

/// Tells PostgreSQL how [`event_source_credentials_changed`] is called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_event_source_credentials_changed() -> *const pg_sys::Pg_finfo_record {
    static VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &raw const VERSION_1
}
