//! What both of Fauna's wires write alike: a value under its tag, and which days their drivers can read.

use std::ops::Range;

use crate::json;

/// The days from 2000-01-01 of the years 1 to 9999.
const DAYS: Range<i32> = -730_119..2_921_940;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Appends a text under a tag.
pub(crate) fn tagged(out: &mut String, tag: &str, text: &str) {
    out.push_str("{\"");
    out.push_str(tag);
    out.push_str("\":");
    json::string(out, text);
    out.push('}');
}

/// Appends bytes under their tag.
pub(crate) fn bytes(out: &mut String, bytes: &[u8]) {
    out.push_str("{\"@bytes\":");
    json::base64(out, bytes);
    out.push('}');
}

/// Whether the drivers can read a date. Days from 2000-01-01.
pub(crate) fn is_readable_date(days: i32) -> bool {
    DAYS.contains(&days)
}

/// Whether the drivers can read an instant. Microseconds from 2000-01-01.
pub(crate) fn is_readable_instant(micros: i64) -> bool {
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).is_ok_and(is_readable_date)
}
