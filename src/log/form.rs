//! A row for a table of the log, made as it will stand on its page.
//!
//! The counterpart of [`super::row`]: what PostgreSQL's own way does for rows of any table takes three
//! allocations and several times as many instructions, and this is done in every transaction that captured
//! something. Pure: nothing of PostgreSQL is called here.

use std::mem::MaybeUninit;

use pgrx::pg_sys;
use pgrx::varlena::{set_varsize_4b, set_varsize_short};

use super::row::Row;

/// The header, with a bit for each of up to eight columns, ends where values may begin.
const HEADER: usize = size_of::<pg_sys::HeapTupleHeaderData>().next_multiple_of(8);
const MOST_COLUMNS: usize = 8;
/// A `bytea` of no more than this has a header of one byte, and begins anywhere.
const MOST_SHORT: usize = 126;
/// What stands before the bytes of any other.
const LONG: usize = size_of::<u32>();

/// Its bytes stay where they are, also when this is moved.
#[derive(Debug)]
pub(super) struct Tuple {
    bytes: Box<[MaybeUninit<u64>]>,
    length: usize,
}

impl Tuple {
    /// A row of a number and `bytea` columns, of which some may be null.
    ///
    /// # Panics
    /// When there is a gigabyte or more, which no value of PostgreSQL holds.
    pub(super) fn of(number: u64, columns: &[Option<&[u8]>]) -> Self {
        assert!(columns.len() < MOST_COLUMNS, "the log's tables have a few columns");
        // Each with a long header, that stands where such a header may.
        let most = |column: &[u8]| column.len().next_multiple_of(LONG) + 2 * LONG;
        let values: usize = columns.iter().flatten().map(|column| most(column)).sum();
        assert!(values < 1 << 30, "a value has less than 1 GB");
        let room = HEADER + size_of::<u64>() + values;
        let mut bytes = Box::new_uninit_slice(room.div_ceil(size_of::<u64>()));
        let start = bytes.as_mut_ptr().cast::<u8>();
        // SAFETY: there is room for the header, the number and each value with what stands before it.
        let length = unsafe {
            start.write_bytes(0, HEADER);
            let header = start.cast::<pg_sys::HeapTupleHeaderData>();
            let has_nulls = if columns.contains(&None) { pg_sys::HEAP_HASNULL } else { 0 };
            (*header).t_infomask2 = columns.len() as u16 + 1;
            (*header).t_infomask = (pg_sys::HEAP_HASVARWIDTH | has_nulls) as u16;
            (*header).t_hoff = HEADER as u8;
            let not_null = (&raw mut (*header).t_bits).cast::<u8>();
            *not_null |= u8::from(has_nulls != 0);
            let mut end = start.add(HEADER);
            end.cast::<u64>().write(number);
            end = end.add(size_of::<u64>());
            for (at, column) in columns.iter().enumerate() {
                let Some(column) = column else { continue };
                end = put(start, end, column);
                *not_null |= u8::from(has_nulls != 0) << (at + 1);
            }
            end.offset_from_unsigned(start)
        };
        Self { bytes, length }
    }

    /// How many bytes it has, before they are compressed.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// As PostgreSQL takes it, which writes to its header. Valid as long as this is.
    pub(super) fn as_heap(&mut self) -> pg_sys::HeapTupleData {
        let t_data = self.bytes.as_mut_ptr().cast();
        pg_sys::HeapTupleData { t_len: self.length as u32, t_data, ..Default::default() }
    }

    /// The same to be read. Valid as long as this is.
    pub(super) fn row(&self) -> Row {
        let header = self.bytes.as_ptr().cast_mut().cast();
        Row::new(pg_sys::ItemPointerData::default(), header)
    }
}

/// Puts a `bytea` behind what is there and gives where it ends.
///
/// # Safety
/// `end` is in the allocation of `start`, with room for the value.
unsafe fn put(start: *mut u8, end: *mut u8, value: &[u8]) -> *mut u8 {
    // SAFETY: the caller's; a long header stands at a multiple of four.
    unsafe {
        let data = if value.len() <= MOST_SHORT {
            set_varsize_short(end.cast(), value.len() as i32 + 1);
            end.add(1)
        } else {
            let here = end.offset_from_unsigned(start);
            let begin = start.add(here.next_multiple_of(LONG));
            end.write_bytes(0, begin.offset_from_unsigned(end));
            set_varsize_4b(begin.cast(), (value.len() + LONG) as i32);
            begin.add(LONG)
        };
        data.copy_from_nonoverlapping(value.as_ptr(), value.len());
        data.add(value.len())
    }
}
