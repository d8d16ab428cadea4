//! What PostgreSQL calls for values of a type: to read and to compare them, and all that they are made of.
//!
//! Only superusers make base types and operator classes, but who owns a function of theirs may replace it. An
//! ordinary role makes domains, whose checks run when a value becomes one, and ranges, with a function that
//! makes a range canonical.

use pgrx::pg_sys;

use super::Calls;
use crate::source::names;

impl Calls {
    /// A type, and whatever it is made of. A value that is made of text, or of another type's value, passes
    /// through the input function and the checks of a domain; one that is there already only is compared.
    pub(super) fn add_type(&mut self, of: pg_sys::Oid, is_made: bool) {
        if !self.types.insert(of) {
            return;
        }
        let Some(found) = type_of(of) else { return };
        let mut parts = vec![found.element];
        match found.kind {
            pg_sys::TYPTYPE_DOMAIN => {
                if is_made {
                    self.domains.insert(of);
                }
                parts.push(found.base);
            }
            pg_sys::TYPTYPE_COMPOSITE => {
                // SAFETY: looks at the catalogs' caches.
                let column = |number| unsafe { pg_sys::get_atttype(found.relation, number) };
                parts.extend(names::live_columns(found.relation).map(column));
            }
            pg_sys::TYPTYPE_RANGE => parts.push(self.add_range(of)),
            #[cfg(not(feature = "pg13"))]
            // SAFETY: looks at the catalogs' caches.
            pg_sys::TYPTYPE_MULTIRANGE => parts.push(unsafe { pg_sys::get_multirange_range(of) }),
            pg_sys::TYPTYPE_BASE | pg_sys::TYPTYPE_ENUM => self.add_operators(of, &found),
            _ => {}
        }
        for part in parts {
            if part != pg_sys::InvalidOid && part != of {
                self.add_type(part, is_made);
            }
        }
    }

    /// The functions of a range; the type that it is over.
    fn add_range(&mut self, of: pg_sys::Oid) -> pg_sys::Oid {
        // SAFETY: the type cache answers for a range with its functions, and keeps its entries for ever.
        let (canonical, compare, over) = unsafe {
            let range = &*pg_sys::lookup_type_cache(of, pg_sys::TYPECACHE_RANGE_INFO as i32);
            (range.rng_canonical_finfo.fn_oid, range.rng_cmp_proc_finfo.fn_oid, range.rngelemtype)
        };
        self.add_function(canonical);
        self.add_function(compare);
        // SAFETY: as above.
        if over.is_null() { pg_sys::InvalidOid } else { unsafe { (*over).type_id } }
    }

    /// What reads, writes and compares values of a type.
    fn add_operators(&mut self, of: pg_sys::Oid, found: &Type) {
        let wanted = pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_CMP_PROC;
        // SAFETY: the type cache answers for any type, and keeps its entries for ever.
        let (equal, compare) = unsafe {
            let entry = &*pg_sys::lookup_type_cache(of, wanted as i32);
            (pg_sys::get_opcode(entry.eq_opr), entry.cmp_proc)
        };
        for function in [found.input, found.output, equal, compare] {
            self.add_function(function);
        }
    }

    fn add_function(&mut self, function: pg_sys::Oid) {
        if function != pg_sys::InvalidOid {
            self.of_types.insert(function);
        }
    }
}

/// What matters here of a row of `pg_type`.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) owner: pg_sys::Oid,
    kind: u8,
    relation: pg_sys::Oid,
    element: pg_sys::Oid,
    base: pg_sys::Oid,
    input: pg_sys::Oid,
    output: pg_sys::Oid,
}

pub(super) fn type_of(of: pg_sys::Oid) -> Option<Type> {
    // SAFETY: the tuple is released after its parts were copied.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::TYPEOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, of.into());
        if tuple.is_null() {
            return None;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_type>();
        let found = Type {
            owner: form.typowner,
            kind: form.typtype as u8,
            relation: form.typrelid,
            element: form.typelem,
            base: form.typbasetype,
            input: form.typinput,
            output: form.typoutput,
        };
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}
