//! Datums that outlive the memory context they were made in, and the comparison of their bytes.

use std::ffi::CStr;

use pgrx::pg_sys;

/// How a type's values are stored: what is needed to copy or compare their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) length: i16,
    pub(super) by_value: bool,
    pub(super) align: std::ffi::c_char,
}

impl Storage {
    pub(super) fn of(datatype: pg_sys::Oid) -> Self {
        let mut storage = Self { length: 0, by_value: false, align: 0 };
        // SAFETY: writes the three fields; raises for an unknown type.
        unsafe {
            pg_sys::get_typlenbyvalalign(
                datatype,
                &mut storage.length,
                &mut storage.by_value,
                &mut storage.align,
            );
        }
        storage
    }

    /// Whether two values have the same bytes, whatever their compression: the comparison that
    /// decides whether a row of an index changed. `1.0` and `1.00` differ.
    pub(super) fn same(self, a: Option<pg_sys::Datum>, b: Option<pg_sys::Datum>) -> bool {
        match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) if self.by_value => a.value() == b.value(),
            // SAFETY: both are values of the type, in memory that is still there.
            (Some(a), Some(b)) => unsafe { self.bytes(a) == self.bytes(b) },
            _ => false,
        }
    }

    /// The bytes of a value, without a varlena's header.
    ///
    /// # Safety
    /// `value` is of the type, not by value, and lives for `'a`, as does the current context.
    unsafe fn bytes<'a>(self, value: pg_sys::Datum) -> &'a [u8] {
        let pointer = value.cast_mut_ptr::<u8>();
        // SAFETY: the type's length says how far the value reaches.
        unsafe {
            match self.length {
                -1 => pgrx::varlena::varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(
                    pointer.cast(),
                )),
                -2 => CStr::from_ptr(pointer.cast()).to_bytes(),
                length => std::slice::from_raw_parts(pointer, length as usize),
            }
        }
    }
}

/// A value in Rust's own memory.
#[derive(Debug)]
pub(super) enum Owned {
    Word(pg_sys::Datum),
    /// In words, so that it is aligned for every type.
    Bytes(Box<[u64]>),
}

impl Owned {
    pub(super) fn copy(value: pg_sys::Datum, storage: Storage) -> Self {
        if storage.by_value {
            return Self::Word(value);
        }
        // SAFETY: the value is of the type that `storage` describes; each arm reads as far as the
        // length, the header or the terminator says.
        unsafe {
            let pointer = value.cast_mut_ptr::<u8>();
            let (pointer, length) = match storage.length {
                -1 => {
                    let plain = pg_sys::pg_detoast_datum_packed(pointer.cast());
                    (plain.cast::<u8>(), pgrx::varlena::varsize_any(plain))
                }
                -2 => (pointer, CStr::from_ptr(pointer.cast()).to_bytes_with_nul().len()),
                length => (pointer, length as usize),
            };
            let mut words = vec![0_u64; length.div_ceil(8)].into_boxed_slice();
            std::ptr::copy_nonoverlapping(pointer, words.as_mut_ptr().cast::<u8>(), length);
            Self::Bytes(words)
        }
    }

    /// The value; it lives as long as this does.
    pub(super) fn datum(&self) -> pg_sys::Datum {
        match self {
            Self::Word(value) => *value,
            Self::Bytes(words) => pg_sys::Datum::from(words.as_ptr()),
        }
    }
}
