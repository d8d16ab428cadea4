//! The row trigger: one change for each row that a command touched.
//!
//! Runs after the row's change, in the writer's backend and transaction. The images are whole, in the
//! bytes that the log stores, before the log is called: nothing of the tuple is looked at afterwards.

use std::ffi::CStr;

use event_source_model::payload;
use pgrx::prelude::*;

use super::table::Table;
use super::truncated;
use super::version::{command_of_deleted, command_of_new, new_version, version};
use crate::error::{Error, Kind, Result, raised};
use crate::log::buffer::{self, Captured};

/// What every trigger of ours is called with.
pub(super) struct Call<'a> {
    pub(super) data: &'a pg_sys::TriggerData,
    pub(super) relation: &'a pg_sys::RelationData,
}

impl Call<'_> {
    /// # Safety
    /// `fcinfo` is what PostgreSQL called the function with.
    pub(super) unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Result<Self> {
        // SAFETY: the caller's; the context of a trigger's call is TriggerData, and says so.
        unsafe {
            let context = (*fcinfo).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(Error::new(Kind::WrongTransaction, "not called as a trigger"));
            }
            let data = &*context.cast::<pg_sys::TriggerData>();
            Ok(Call { data, relation: &*data.tg_relation })
        }
    }

    /// The id of the capture, `None` when the table is not captured.
    ///
    /// # Errors
    /// When the trigger is of another capture than the table's: an id in a trigger that somebody
    /// made or restored by hand must not write into the collection of somebody else.
    pub(super) fn collection(&self, table: &Table) -> Result<Option<u64>> {
        // SAFETY: the call is of a trigger.
        let trigger = unsafe { &*self.data.tg_trigger };
        if table.trigger.get() == trigger.tgoid {
            // With another argument it would be another one, or the relation's cache entry a new one.
            return Ok(table.collection);
        }
        // SAFETY: a trigger has `tgnargs` arguments, which are C strings.
        let argument = (trigger.tgnargs == 1).then(|| unsafe { CStr::from_ptr(*trigger.tgargs) });
        let id: Option<u64> = argument.and_then(|a| a.to_str().ok()?.parse().ok());
        if id.is_none() || table.collection.is_some() && table.collection != id {
            return Err(Error::new(Kind::NotCaptured, "the trigger is of another capture")
                .hint("call event_source.release and then event_source.capture for the table"));
        }
        table.trigger.set(trigger.tgoid);
        Ok(table.collection)
    }
}

/// `event_source.capture_row(capture id)`, the trigger function.
///
/// # Safety
/// Called by PostgreSQL.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_source_capture_row(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: the caller's.
    raised(unsafe { Call::of(fcinfo) }.and_then(|call| capture(&call)));
    pg_sys::Datum::null()
}

/// Tells PostgreSQL how [`event_source_capture_row`] is called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_event_source_capture_row() -> *const pg_sys::Pg_finfo_record {
    &raw const VERSION_1
}

pub(super) static VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

fn capture(call: &Call<'_>) -> Result<()> {
    let kind = call.data.tg_event & (pg_sys::TRIGGER_EVENT_OPMASK | AFTER_ROW_MASK);
    if kind & AFTER_ROW_MASK != pg_sys::TRIGGER_EVENT_ROW {
        let message = "event_source.capture_row must be called after a row's change";
        return Err(Error::new(Kind::WrongTransaction, message));
    }
    let table = Table::of(call.relation);
    let Some(collection) = call.collection(&table)? else {
        return Ok(());
    };
    let shape = table.shape()?;
    let (oid, desc) = (call.relation.rd_id, call.relation.rd_att);
    let (first, second) = (call.data.tg_trigtuple, call.data.tg_newtuple);
    // Of this call alone: an output function may write a captured table.
    let mut images = Vec::with_capacity(ROOM);
    let settings = table.settings();
    // SAFETY: an AFTER ROW trigger has the row, and of an update the old and the new one, copied
    // into slots that are its own until it returns.
    let (kind, command) = unsafe {
        match kind & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => {
                payload::put_image(&mut images, shape, &new_version(oid, first));
                table.put_values(first, desc, &mut images);
                (payload::Kind::Insert, command_of_new(first))
            }
            pg_sys::TRIGGER_EVENT_DELETE => {
                payload::put_image(&mut images, shape, &version(oid, first));
                table.put_values(first, desc, &mut images);
                (payload::Kind::Delete, command_of_deleted(first))
            }
            _ => {
                payload::put_image(&mut images, shape, &new_version(oid, second));
                table.put_update((first, second), desc, &mut images, |out| {
                    payload::put_version(out, &version(oid, first));
                });
                (payload::Kind::Update, command_of_new(second))
            }
        }
    };
    drop(settings);
    let values = table.width() * if kind == payload::Kind::Update { 2 } else { 1 };
    let rewrite = false;
    let captured = Captured { kind, collection, command, rewrite, images: &images, values };
    truncated::note(&captured)?;
    buffer::push_captured(&captured)
}

/// What the images of most rows need.
const ROOM: usize = 256;

/// The bits that tell row from statement triggers and when they fire.
const AFTER_ROW_MASK: u32 = pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_TIMINGMASK;
