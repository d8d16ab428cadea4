//! Which types call code of users when a value is read.
//!
//! Anybody makes domains, whose checks run, and ranges, with a function that makes them canonical. Functions of base
//! types are made by superusers, and enums have none. Reads the catalogs' caches and calls nothing of what it finds.

use pgrx::pg_sys;

use crate::compat;

/// Whether reading a value of the type may run what an ordinary role has written.
pub(crate) fn reading_calls_code(of: pg_sys::Oid) -> bool {
    if of.to_u32() < pg_sys::FirstNormalObjectId {
        return false;
    }
    // SAFETY: lookups in the caches, which answer for any type; the row type is a copy in the current context.
    unsafe {
        match pg_sys::get_typtype(of) as u8 {
            // Not asked whether it has checks: PostgreSQL would evaluate what is constant in them.
            pg_sys::TYPTYPE_DOMAIN | pg_sys::TYPTYPE_RANGE | compat::TYPTYPE_MULTIRANGE => true,
            pg_sys::TYPTYPE_COMPOSITE => {
                let row = pg_sys::lookup_rowtype_tupdesc_copy(of, -1);
                let fields = compat::attributes(row).iter().filter(|field| !field.attisdropped);
                fields.map(|field| field.atttypid).any(reading_calls_code)
            }
            _ => {
                let element = pg_sys::get_element_type(of);
                element != pg_sys::InvalidOid && reading_calls_code(element)
            }
        }
    }
}
