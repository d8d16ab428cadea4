//! Text: from the server's encoding to UTF-8.
//!
//! Runs in the writers' backends, on their only thread. An output function is user code.

use std::cell::OnceCell;
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

/// Hands over what a type's output function makes of a value, as UTF-8.
///
/// # Safety
/// `function` is the output function of the type of `datum`, a non-null value.
pub(super) unsafe fn output<T>(
    function: OutputFunction,
    datum: pg_sys::Datum,
    give: impl FnOnce(&[u8]) -> T,
) -> T {
    // SAFETY: the caller's; an output function returns a palloc'd C string.
    unsafe {
        let out: *mut c_char = match function {
            OutputFunction::Of(oid) => pg_sys::OidOutputFunctionCall(oid, datum),
            OutputFunction::Known(function) => {
                pgrx::direct_function_call_as_datum(function, &[Some(datum)])
                    .expect("an output function gives a text")
                    .cast_mut_ptr()
            }
        };
        let given = utf8(CStr::from_ptr(out).to_bytes(), give);
        pg_sys::pfree(out.cast());
        given
    }
}

/// How an output function is called.
#[derive(Clone, Copy, Debug)]
pub(super) enum OutputFunction {
    Of(pg_sys::Oid),
    /// One of PostgreSQL's own, which needs no look-up.
    Known(unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum),
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
pub(super) fn text(bytes: &[u8]) -> String {
    utf8(bytes, |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Hands over UTF-8, from the server's encoding: in a UTF-8 database the bytes as they are.
///
/// Only a SQL_ASCII database can hold bytes that are no text in any encoding; they become U+FFFD
/// rather than an error in the user's write.
pub(super) fn utf8<T>(bytes: &[u8], give: impl FnOnce(&[u8]) -> T) -> T {
    use pg_sys::pg_enc::{PG_SQL_ASCII, PG_UTF8};
    let encoding = ENCODING.with(|known| {
        // SAFETY: reads a setting, which is the same for as long as a process is connected.
        *known.get_or_init(|| unsafe { pg_sys::GetDatabaseEncoding() })
    });
    if encoding == PG_UTF8 as i32 || bytes.is_ascii() {
        return give(bytes);
    }
    if encoding == PG_SQL_ASCII as i32 {
        return give(String::from_utf8_lossy(bytes).as_bytes());
    }
    // SAFETY: converts `len` bytes; the result is a C string, or the input itself, which is not
    // terminated: that it is not returned for a non-empty text in another encoding is its contract.
    unsafe {
        let len = i32::try_from(bytes.len()).expect("a value has less than 1 GB");
        let converted = pg_sys::pg_server_to_any(bytes.as_ptr().cast(), len, PG_UTF8 as i32);
        give(CStr::from_ptr(converted).to_bytes())
    }
}

thread_local! {
    static ENCODING: OnceCell<i32> = const { OnceCell::new() };
}
