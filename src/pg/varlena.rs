//! Bytes as PostgreSQL takes them: a header in front says how many.

use pgrx::pg_sys;

/// A value of type `bytea` that belongs to Rust: freed at once when this is dropped, not with a
/// memory context.
#[derive(Debug)]
pub struct Varlena(Vec<u32>);

impl Varlena {
    /// # Panics
    /// When there is a gigabyte or more, which no value of PostgreSQL holds.
    pub fn of(bytes: &[u8]) -> Self {
        let size = bytes.len() + size_of::<u32>();
        assert!(size < 1 << 30, "a value has less than 1 GB");
        // Whole words, since PostgreSQL reads the header as one.
        let mut words = vec![0; size.div_ceil(size_of::<u32>())];
        // SAFETY: the words have room for the header and the bytes, which are another allocation.
        unsafe {
            let start = words.as_mut_ptr().cast::<u8>();
            pgrx::set_varsize_4b(start.cast(), size as i32);
            let data = start.add(size_of::<u32>());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
        }
        Self(words)
    }

    /// Valid as long as this is.
    pub fn datum(&self) -> pg_sys::Datum {
        self.0.as_ptr().into()
    }
}
