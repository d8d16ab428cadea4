//! Values that hold values: arrays of any dimensions, and composites.
//!
//! Runs in the writers' backends, on their only thread, as part of [`super::encode`].

use std::ffi::{CStr, c_char};

use event_source_model::encoding::Values;
use pgrx::pg_sys;
use smallvec::SmallVec;

use super::encode::{Encoder, Needs};
use super::text::utf8;
use crate::compat;

/// The element type of an array.
///
/// Lower bounds other than 1 are dropped, as PostgreSQL's own to_json does: JSON has no word for
/// them. A filter that subscripts such an array sees it counted from 1.
#[derive(Debug)]
pub(super) struct Element {
    oid: pg_sys::Oid,
    length: i16,
    by_value: bool,
    align: c_char,
    encoder: Encoder,
}

impl Element {
    pub(super) fn of(oid: pg_sys::Oid, needs: &mut Needs) -> Self {
        let (mut length, mut by_value, mut align) = (0, false, 0);
        // SAFETY: the out parameters are ours.
        unsafe { pg_sys::get_typlenbyvalalign(oid, &mut length, &mut by_value, &mut align) };
        Self { oid, length, by_value, align, encoder: Encoder::of(oid, needs) }
    }

    /// # Safety
    /// `datum` is an array of this element type.
    pub(super) unsafe fn encode(&self, datum: pg_sys::Datum, out: &mut Vec<u8>) {
        // SAFETY: the caller's; deconstruct_array fills the two arrays with `count` entries each,
        // and `ndim` dimensions follow the header.
        let (dims, values, nulls) = unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let dims = slice(array.add(1).cast::<i32>(), (*array).ndim);
            let (mut values, mut nulls, mut count) =
                (std::ptr::null_mut(), std::ptr::null_mut(), 0);
            pg_sys::deconstruct_array(
                array,
                self.oid,
                i32::from(self.length),
                self.by_value,
                self.align,
                &mut values,
                &mut nulls,
                &mut count,
            );
            (dims, slice(values, count), slice(nulls, count))
        };
        let mut items = values.iter().zip(nulls);
        nest(dims, out, &mut |out| match items.next() {
            // SAFETY: an element of the array.
            Some((&value, false)) => unsafe { self.encoder.encode(value, out) },
            _ => Values(out).null(),
        });
    }
}

/// An array of arrays for several dimensions; `item` writes the items in row-major order.
fn nest(dims: &[i32], out: &mut Vec<u8>, item: &mut dyn FnMut(&mut Vec<u8>)) {
    let count = dims.first().map_or(0, |&count| count as usize);
    Values(out).array(count);
    for _ in 0..count {
        match dims {
            [] | [_] => item(out),
            [_, rest @ ..] => nest(rest, out, item),
        }
    }
}

/// # Safety
/// `start` points to `count` initialised values, or `count` is 0.
unsafe fn slice<'a, T>(start: *const T, count: i32) -> &'a [T] {
    let count = usize::try_from(count).expect("a count is not negative");
    // SAFETY: the caller's.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(start, count) } }
}

/// The encoders of a composite type's fields, `None` for a dropped one.
#[derive(Debug)]
pub(super) struct Fields(Vec<Option<Encoder>>);

impl Fields {
    pub(super) fn of(oid: pg_sys::Oid, needs: &mut Needs) -> Self {
        // SAFETY: reads the system caches.
        needs.relations.push(unsafe { pg_sys::get_typ_typrelid(oid) });
        RowType::look_up(oid, -1).fields(needs)
    }

    /// # Safety
    /// `datum` is a non-null value of this composite type.
    pub(super) unsafe fn encode(&self, datum: pg_sys::Datum, out: &mut Vec<u8>) {
        // SAFETY: the caller's; a composite datum says its own row type.
        unsafe {
            let data = pg_sys::pg_detoast_datum(datum.cast_mut_ptr())
                .cast::<pg_sys::HeapTupleHeaderData>();
            let kind = (*data).t_choice.t_datum;
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varlena::varsize_any(data.cast()) as u32,
                t_data: data,
                ..Default::default()
            };
            let row = RowType::look_up(kind.datum_typeid, kind.datum_typmod);
            let (values, nulls) = deform(&mut tuple, row.0);
            // The type may have changed in the middle of the statement, before our cache hears it.
            let fresh;
            let fields = if self.0.len() == values.len() {
                self
            } else {
                fresh = row.fields(&mut Needs::default());
                &fresh
            };
            Values(out).object(fields.0.iter().flatten().count());
            for (at, encoder) in fields.0.iter().enumerate() {
                let Some(encoder) = encoder else { continue };
                utf8(row.name(at).to_bytes(), |name| Values(out).name(name));
                if nulls[at] { Values(out).null() } else { encoder.encode(values[at], out) }
            }
        }
    }
}

/// The values of a tuple's columns, dropped ones included, and which of them are null. Those of most tables
/// need no allocation.
pub(super) type Row = (SmallVec<[pg_sys::Datum; 16]>, SmallVec<[bool; 16]>);

/// The columns of a tuple.
///
/// # Safety
/// `tuple` is a tuple of the row type `desc`.
pub(super) unsafe fn deform(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Row {
    // SAFETY: the caller's; both arrays have an entry for each attribute.
    unsafe {
        let count = (*desc).natts as usize;
        let mut values = SmallVec::from_elem(pg_sys::Datum::null(), count);
        let mut nulls = SmallVec::from_elem(true, count);
        pg_sys::heap_deform_tuple(tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
        (values, nulls)
    }
}

/// A pinned row type of a composite value.
struct RowType(pg_sys::TupleDesc);

impl RowType {
    fn look_up(oid: pg_sys::Oid, typmod: i32) -> Self {
        // SAFETY: raises an ERROR when there is no such row type.
        Self(unsafe { pg_sys::lookup_rowtype_tupdesc(oid, typmod) })
    }

    fn attributes(&self) -> &[pg_sys::FormData_pg_attribute] {
        // SAFETY: the descriptor is pinned.
        unsafe { compat::attributes(self.0) }
    }

    fn fields(&self, needs: &mut Needs) -> Fields {
        let fields = self.attributes().iter().map(|attribute| {
            (!attribute.attisdropped).then(|| Encoder::of(attribute.atttypid, needs))
        });
        Fields(fields.collect())
    }

    fn name(&self, at: usize) -> &CStr {
        // SAFETY: a name ends with a zero byte.
        unsafe { CStr::from_ptr(self.attributes()[at].attname.data.as_ptr()) }
    }
}

impl Drop for RowType {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner of the aborted transaction unpins it.
        if !std::thread::panicking() {
            // SAFETY: pinned by `look_up`; a negative count is that of one that is never freed.
            unsafe {
                if (*self.0).tdrefcount >= 0 {
                    pg_sys::DecrTupleDescRefCount(self.0);
                }
            }
        }
    }
}
