//! A row of a table of the log, read where it stands on its page.
//!
//! Such a row is a number of eight bytes and behind it `bytea` columns, of which some may be null. Reading
//! that takes a tenth of what PostgreSQL's own way for any row takes.

use pgrx::pg_sys;
use pgrx::varlena::{varatt_is_1b_e, varatt_is_4b_c, varsize_any};

use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;

/// A row on a page that is pinned for as long as this is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) tid: pg_sys::ItemPointerData,
    header: pg_sys::HeapTupleHeader,
}

impl Row {
    pub(super) fn new(tid: pg_sys::ItemPointerData, header: pg_sys::HeapTupleHeader) -> Self {
        Self { tid, header }
    }

    /// A column, from 0.
    ///
    /// # Safety
    /// The page is pinned, and its table passed [`check`].
    pub(super) unsafe fn column(&self, at: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's: a row of such a table, whole.
        unsafe {
            if at >= self.columns() || self.is_null(at) {
                return None;
            }
            let start = self.header.cast::<u8>();
            let mut here = start.add(usize::from((*self.header).t_hoff));
            for before in 0..at {
                if self.is_null(before) {
                    continue;
                }
                here = match before {
                    0 => here.add(size_of::<u64>()),
                    _ => {
                        let value = aligned(start, here);
                        value.add(varsize_any(value.cast()))
                    }
                };
            }
            Some(match at {
                0 => pg_sys::Datum::from(here.cast::<u64>().read()),
                _ => pg_sys::Datum::from(aligned(start, here)),
            })
        }
    }

    /// How many columns the row has; those that were added to its table later are null.
    unsafe fn columns(&self) -> usize {
        // SAFETY: as `column`.
        usize::from(unsafe { (*self.header).t_infomask2 } & pg_sys::HEAP_NATTS_MASK as u16)
    }

    unsafe fn is_null(&self, at: usize) -> bool {
        // SAFETY: as `column`; a row with nulls has a bit for each of its columns.
        unsafe {
            let has_nulls = (*self.header).t_infomask & pg_sys::HEAP_HASNULL as u16 != 0;
            let bits = (&raw const (*self.header).t_bits).cast::<u8>();
            has_nulls && *bits.add(at / 8) & (1 << (at % 8)) == 0
        }
    }
}

/// Where a `bytea` begins: one with a short header, which is not 0, stands anywhere, others behind zeros at a
/// multiple of four.
unsafe fn aligned(start: *mut u8, here: *mut u8) -> *mut u8 {
    // SAFETY: within the row.
    unsafe {
        let offset = here.offset_from_unsigned(start);
        if *here == 0 { start.add(offset.next_multiple_of(4)) } else { here }
    }
}

/// Whether a value is to be made plain before it is read.
///
/// # Safety
/// A varlena.
pub(super) unsafe fn is_packed(value: *mut pg_sys::varlena) -> bool {
    // SAFETY: the caller's.
    unsafe { varatt_is_1b_e(value) || varatt_is_4b_c(value) }
}

/// Whether the rows of a table are such rows.
///
/// # Errors
/// When somebody changed it.
pub(super) fn check(table: &Relation) -> Result<()> {
    // SAFETY: the row type of an open relation.
    let columns = unsafe { compat::attributes(table.tuple_desc()) };
    let is_ours = |(at, column): (usize, &pg_sys::FormData_pg_attribute)| match at {
        0 => column.attlen == 8 && column.attbyval,
        _ => column.attlen == -1 && column.attalign == b'i' as std::ffi::c_char,
    };
    if columns.iter().enumerate().all(is_ours) {
        return Ok(());
    }
    Err(Error::new(Kind::Corrupted, "a table of the change log does not have its columns")
        .hint("undo whatever was changed in schema event_source by hand"))
}
