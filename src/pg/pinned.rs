//! Settings on which the text of a value depends, pinned while this lives.
//!
//! Without it the same row would be logged as other bytes by a session with another `TimeZone`. Settings that code makes
//! meanwhile are gone afterwards.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::process;

/// The settings that output and input functions read, and what they are here.
const PINNED: &[(&CStr, &CStr)] = &[
    (c"TimeZone", c"UTC"),
    (c"DateStyle", c"ISO, YMD"),
    (c"IntervalStyle", c"iso_8601"),
    (c"bytea_output", c"hex"),
    (c"extra_float_digits", c"1"),
    (c"lc_monetary", c"C"),
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"xmlbinary", c"base64"),
    (c"xmloption", c"content"),
    (c"quote_all_identifiers", c"off"),
    (c"array_nulls", c"on"),
];

/// Those that the parser and the planner read as well.
const PINNED_FOR_CODE: &[(&CStr, &CStr)] = &[
    (c"standard_conforming_strings", c"on"),
    (c"transform_null_equals", c"off"),
    // A plan must not be made dearer than what it runs, nor leave the process.
    (c"jit", c"off"),
    (c"max_parallel_workers_per_gather", c"0"),
];

/// Pins the settings, and others, for the rest of a process that is nobody's session.
pub fn pin_for_life(others: &[(&CStr, &CStr)]) {
    for (name, value) in PINNED.iter().chain(PINNED_FOR_CODE).chain(others) {
        // SAFETY: C strings that are valid for their settings.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
    process::be_for_life();
}

/// The pinned settings are in force until this is dropped.
#[derive(Debug)]
pub struct PinnedSettings {
    level: i32,
}

impl PinnedSettings {
    /// For the text of values.
    pub fn enter() -> Self {
        Self::pin(&[PINNED])
    }

    /// For expressions, too.
    pub fn enter_for_code() -> Self {
        Self::pin(&[PINNED, PINNED_FOR_CODE])
    }

    fn pin(lists: &[&[(&CStr, &CStr)]]) -> Self {
        let lists = if process::is_for_life() { &[] } else { lists };
        // SAFETY: a new nest level; the values are valid for their settings on every version.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            for (name, value) in lists.iter().copied().flatten() {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            Self { level }
        }
    }
}

impl Drop for PinnedSettings {
    fn drop(&mut self) {
        // While an ERROR unwinds, the abort of the (sub)transaction undoes the nest level.
        if !std::thread::panicking() {
            // SAFETY: the level was opened by this handle.
            unsafe { pg_sys::AtEOXact_GUC(false, self.level) }
        }
    }
}
