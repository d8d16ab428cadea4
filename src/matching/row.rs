//! An image as a row of its table, as far as anything looks at it.

use event_source_model::image::Image;
use event_source_model::value::Value;
use pgrx::pg_sys;

use super::datatype::Inputs;
use super::guard::Guard;
use super::table::Table;
use crate::error::{Error, Kind, Result};

/// A virtual row whose columns are filled when they are needed.
#[derive(Debug)]
pub(super) struct Row {
    slot: *mut pg_sys::TupleTableSlot,
    filled: Vec<bool>,
}

impl Row {
    /// A row in the current memory context.
    pub(super) fn of(table: &Table) -> Self {
        // SAFETY: the row type is a copy that is not counted, and outlives the slot.
        let slot =
            unsafe { pg_sys::MakeSingleTupleTableSlot(table.image_type(), &pg_sys::TTSOpsVirtual) };
        // SAFETY: as above.
        let count = unsafe { (*table.image_type()).natts } as usize;
        let mut row = Self { slot, filled: vec![true; count] };
        row.clear();
        row
    }

    /// Forgets all values; the next image comes.
    pub(super) fn clear(&mut self) {
        self.filled.fill(false);
        // SAFETY: the slot has room for as many flags as its row type has columns; a virtual slot
        // with all of them set is a valid row of nulls.
        unsafe {
            pg_sys::ExecClearTuple(self.slot);
            std::slice::from_raw_parts_mut((*self.slot).tts_isnull, self.filled.len()).fill(true);
            pg_sys::ExecStoreVirtualTuple(self.slot);
        }
    }

    pub(super) fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }

    /// Fills columns from the image, in the current memory context.
    ///
    /// # Errors
    /// [`Kind::SchemaChanged`] when a value does not fit its column's present type.
    pub(super) fn fill(
        &mut self,
        table: &Table,
        image: &Image,
        attnums: &[i16],
        guard: Guard,
    ) -> Result<()> {
        for &attnum in attnums {
            let at = attnum as usize - 1;
            if !self.filled[at] {
                let datum = match value_of(image, attnum) {
                    Some(Value::Null) => None,
                    Some(value) => Some(read(table, attnum, value, guard)?),
                    None => missing(table, attnum),
                };
                self.set(at, datum);
            }
        }
        Ok(())
    }

    fn set(&mut self, at: usize, datum: Option<pg_sys::Datum>) {
        // SAFETY: `at` is a column of the row type.
        unsafe {
            *(*self.slot).tts_isnull.add(at) = datum.is_none();
            *(*self.slot).tts_values.add(at) = datum.unwrap_or(pg_sys::Datum::null());
        }
        self.filled[at] = true;
    }
}

/// Without dropped columns a column's place in the shape is its number.
fn value_of(image: &Image, attnum: i16) -> Option<&Value> {
    let at = attnum as usize - 1;
    match image.shape.columns.get(at) {
        Some(column) if column.attnum == attnum => image.values.get(at),
        _ => image.by_attnum(attnum),
    }
}

fn read(table: &Table, attnum: i16, value: &Value, guard: Guard) -> Result<pg_sys::Datum> {
    if let Some(datum) = table.datum(attnum, value, Inputs::Forbidden) {
        return Ok(datum);
    }
    let name = || crate::compat::name(&table.column(attnum).attname);
    let unfit = |detail: String| {
        Error::new(
            Kind::SchemaChanged,
            format!("a value in the log does not fit the present type of column \"{}\"", name()),
        )
        .detail(detail)
    };
    guard
        .run(table.payer(), || {
            let _acting = table.acting(attnum);
            Ok(table.datum(attnum, value, Inputs::Allowed))
        })
        .map_err(|error| unfit(error.message))?
        .ok_or_else(|| unfit("the value has no text".to_owned()))
}

/// What a row has in a column that was added after it was written.
fn missing(table: &Table, attnum: i16) -> Option<pg_sys::Datum> {
    let mut null = true;
    // SAFETY: the row type keeps the missing values of its columns; the number is one of them.
    let datum = unsafe { pg_sys::getmissingattr(table.row_type(), attnum.into(), &mut null) };
    (!null).then_some(datum)
}
