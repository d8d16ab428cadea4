//! No token and no secret stands in the server's log: not in what PostgreSQL or anybody else says, and not in the
//! statement that it shows beside an error.
//!
//! A hook of PostgreSQL's, in every process of the server, called for each message on its way to the log. It works
//! on the message's own memory: it must not ask for any, and must not raise.

use std::ffi::{CStr, c_char};

use event_source_model::discreet::{hide_credentials, holds_credential};
use pgrx::prelude::*;

/// The hook that was there before.
static mut PREVIOUS: pg_sys::emit_log_hook_type = None;

/// Called once, in the postmaster.
pub fn init() {
    // SAFETY: nobody else runs yet.
    unsafe {
        PREVIOUS = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(be_discreet);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn be_discreet(message: *mut pg_sys::ErrorData) {
    // SAFETY: PostgreSQL passes the message, whose texts are its own copies or null.
    unsafe {
        let said = &mut *message;
        let texts = [
            said.message,
            said.detail,
            said.detail_log,
            said.hint,
            said.context,
            said.internalquery,
        ];
        texts.into_iter().for_each(|text| hide(text));
        // The statement is the client's own text, which must stay as it is: it is left out whole.
        let statement = pg_sys::debug_query_string;
        if !statement.is_null() && holds_credential(CStr::from_ptr(statement).to_bytes()) {
            said.hide_stmt = true;
        }
        if let Some(previous) = PREVIOUS {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(message));
        }
    }
}

/// # Safety
/// `text` is null or a C string that may be written to.
unsafe fn hide(text: *mut c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: the caller's; the text becomes no longer.
    unsafe {
        let length = CStr::from_ptr(text).count_bytes();
        let bytes = std::slice::from_raw_parts_mut(text.cast::<u8>(), length);
        let left = hide_credentials(bytes);
        if left < length {
            bytes[left] = 0;
        }
    }
}
