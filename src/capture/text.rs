//! Text: from the server's encoding to UTF-8.
//!
//! Runs in the writers' backends, on their only thread. An output function is user code.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;
use pgrx::varlena::{vardata_any, varsize_any_exhdr};

/// What charout of PostgreSQL 16 gives; earlier ones gave a lone byte that is no text.
pub(super) fn byte(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..=127 => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

/// # Safety
/// `function` is the output function of the type of `datum`, a non-null value.
pub(super) unsafe fn output(function: pg_sys::Oid, datum: pg_sys::Datum) -> String {
    // SAFETY: the caller's; an output function returns a palloc'd C string.
    unsafe {
        let out = pg_sys::OidOutputFunctionCall(function, datum);
        let text = cstring(out);
        pg_sys::pfree(out.cast());
        text
    }
}

/// # Safety
/// `datum` is a non-null varlena.
pub(super) unsafe fn with_bytes<T>(datum: pg_sys::Datum, read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: the caller's; the bytes stay until the pfree, and only a copy is ours to free.
    unsafe {
        let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
        let plain = pg_sys::pg_detoast_datum_packed(stored);
        let bytes = std::slice::from_raw_parts(vardata_any(plain).cast(), varsize_any_exhdr(plain));
        let value = read(bytes);
        if plain != stored {
            pg_sys::pfree(plain.cast());
        }
        value
    }
}

/// # Safety
/// `start` is a C string in the server's encoding.
pub(super) unsafe fn cstring(start: *const c_char) -> String {
    // SAFETY: the caller's.
    text(unsafe { CStr::from_ptr(start) }.to_bytes())
}

/// UTF-8, from the server's encoding.
///
/// Only a SQL_ASCII database can hold bytes that are no text in any encoding; they become U+FFFD
/// rather than an error in the user's write.
pub(super) fn text(bytes: &[u8]) -> String {
    use pg_sys::pg_enc::{PG_SQL_ASCII, PG_UTF8};
    // SAFETY: reads a setting.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    if encoding == PG_UTF8 as i32 || encoding == PG_SQL_ASCII as i32 || bytes.is_ascii() {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    // SAFETY: converts `len` bytes; the result is a C string, or the input itself, which is not
    // terminated: that it is not returned for a non-empty text in another encoding is its contract.
    unsafe {
        let len = i32::try_from(bytes.len()).expect("a value has less than 1 GB");
        let converted = pg_sys::pg_server_to_any(bytes.as_ptr().cast(), len, PG_UTF8 as i32);
        String::from_utf8_lossy(CStr::from_ptr(converted).to_bytes()).into_owned()
    }
}
