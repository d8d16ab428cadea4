//! Names of relations, columns and roles, and back.
//!
//! Runs in backends and in the worker; reads the catalogs' caches, takes no lock on what it names.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};

use event_source_model::source::Named;
use pgrx::pg_sys;

use crate::error::{Error, Kind, Result};
use crate::pg::pinned::PinnedSettings;
use crate::pg::role::NOBODY;

/// A string of PostgreSQL's, copied.
///
/// # Safety
/// `text` is null or a C string.
pub(super) unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A name as PostgreSQL takes it.
pub(super) fn c_string(name: &str) -> Result<CString> {
    CString::new(name)
        .map_err(|_| Error::new(Kind::InvalidParameter, "a zero byte is not allowed here"))
}

/// `schema.name`, quoted where needed, whatever the session's settings are.
pub(crate) fn qualified(relation: pg_sys::Oid) -> Result<String> {
    let _pinned = PinnedSettings::enter();
    // SAFETY: each answers null for what is gone.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        if name.is_null() || schema.is_null() {
            return Err(Error::new(
                Kind::UndefinedObject,
                format!("relation with OID {} does not exist", relation.to_u32()),
            ));
        }
        let whole = pg_sys::quote_qualified_identifier(schema, name);
        Ok(text(whole).expect("a quoted name is never null"))
    }
}

/// The bare name of a relation, `None` when there is none.
pub(crate) fn relation_name(relation: pg_sys::Oid) -> Option<String> {
    // SAFETY: answers null for what is gone.
    unsafe { text(pg_sys::get_rel_name(relation)) }
}

/// A relation, for a token.
pub(super) fn named_relation(relation: pg_sys::Oid) -> Result<Named> {
    Ok(Named { oid: relation.to_u32(), name: qualified(relation)? })
}

/// The name of a role, `None` when there is no such role.
pub(super) fn role_name(role: pg_sys::Oid) -> Option<String> {
    // SAFETY: answers null for a role that does not exist.
    unsafe { text(pg_sys::GetUserNameFromId(role, true)) }
}

/// The role of a token, by its OID here: another role that is given the name later is somebody else. What
/// another cluster minted has been given the OID by then, see [`super::elsewhere`].
pub(crate) fn role(named: &Named) -> Result<pg_sys::Oid> {
    let oid = pg_sys::Oid::from(named.oid);
    role_name(oid).map(|_| oid).ok_or_else(|| no_role(named))
}

/// The role of a token is not here.
pub(super) fn no_role(named: &Named) -> Error {
    Error::new(
        Kind::InsufficientPrivilege,
        format!("role \"{}\" of the event source no longer exists", named.name),
    )
    .hint("get a new token from event_source(...)")
}

/// The role of that name, `None` when there is none.
pub(super) fn role_named(name: &str) -> Option<pg_sys::Oid> {
    let name = c_string(name).ok()?;
    // SAFETY: answers InvalidOid for a role that does not exist.
    let oid = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The owner of a relation; nobody once it is gone.
pub(crate) fn owner(relation: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the tuple is released after its owner was copied.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, relation.into());
        if tuple.is_null() {
            return NOBODY;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(tuple);
        owner
    }
}

/// The name of a column, `None` when it was dropped.
pub(super) fn column_name(table: pg_sys::Oid, attnum: i16) -> Option<String> {
    // SAFETY: the tuple is released after its name and flag were copied.
    unsafe {
        let tuple = pg_sys::SearchSysCache2(
            pg_sys::SysCacheIdentifier::ATTNUM as i32,
            pg_sys::Datum::from(table),
            pg_sys::Datum::from(attnum),
        );
        if tuple.is_null() {
            return None;
        }
        let attribute = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>();
        let name = (!(*attribute).attisdropped)
            .then(|| text((*attribute).attname.data.as_ptr()))
            .flatten();
        pg_sys::ReleaseSysCache(tuple);
        name
    }
}

/// The numbers of the columns named in `parameter`, ascending and each once.
pub(crate) fn columns(
    table: pg_sys::Oid,
    parameter: &str,
    names: &[Option<String>],
) -> Result<Vec<i16>> {
    if names.is_empty() {
        return Err(Error::new(Kind::InvalidParameter, format!("{parameter} must not be empty"))
            .hint(format!("leave {parameter} out for every column")));
    }
    let mut numbers = BTreeSet::new();
    for name in names {
        let name = name.as_deref().ok_or_else(|| {
            Error::new(Kind::InvalidParameter, format!("{parameter} must not contain nulls"))
        })?;
        let c_name = c_string(name)?;
        // SAFETY: answers 0 for a column that does not exist or was dropped.
        let attnum = unsafe { pg_sys::get_attnum(table, c_name.as_ptr()) };
        if attnum <= 0 {
            let table = qualified(table)?;
            return Err(Error::new(
                Kind::UndefinedColumn,
                format!("column \"{name}\" of table {table} does not exist"),
            )
            .detail(format!("it is named in {parameter}")));
        }
        numbers.insert(attnum);
    }
    Ok(numbers.into_iter().collect())
}

/// The numbers of the columns that a table has now.
pub(super) fn live_columns(table: pg_sys::Oid) -> impl Iterator<Item = i16> {
    // SAFETY: the tuple is released after the count was copied.
    let last = unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(table),
        );
        if tuple.is_null() {
            0
        } else {
            let last = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relnatts;
            pg_sys::ReleaseSysCache(tuple);
            last
        }
    };
    (1..=last).filter(move |&attnum| column_name(table, attnum).is_some())
}
