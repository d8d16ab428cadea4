//! Who may see a source: what a session of the role could read by SELECT, and no row security.
//!
//! That is CONNECT on the database, USAGE of the schema, and SELECT on everything that the source shows or
//! tests. Whether the role may log in does not matter: `SET ROLE` does not ask for it either, and groups have
//! no login. Runs in backends and in the worker, at mint, at every use and while streams are open. It reads
//! the catalogs' caches and takes no lock on the table.

use std::collections::BTreeSet;

use event_source_model::source::{Definition, Set};
use pgrx::pg_sys;

use super::calls::Calls;
use super::collection::Collection;
use super::{filter, index, names};
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;
use crate::settings;

/// Checks again that the source's collection is captured and that its role may see it.
///
/// # Errors
/// [`Kind::SourceGone`], [`Kind::SchemaChanged`] or [`Kind::InsufficientPrivilege`].
pub(crate) fn check(definition: &Definition) -> Result<()> {
    let collection = Collection::of(definition)?;
    require_own(names::role(&definition.role)?, definition, collection.relation)
}

/// What the filter of a source calls, which its role may have called.
///
/// # Errors
/// It may not, or the filter no longer fits its table. Reading it may run code of users.
pub(crate) fn calls(definition: &Definition) -> Result<Calls> {
    let Some(wanted) = &definition.filter else { return Ok(Calls::default()) };
    let collection = Collection::of(definition)?;
    let table = Relation::peek(collection.relation)
        .ok_or_else(|| Error::new(Kind::SourceGone, "the table is no longer captured"))?;
    filter::calls(wanted, names::role(&definition.role)?, &table)
}

/// As [`require`], of the role as which the source is made or was made.
pub(super) fn require_own(
    role: pg_sys::Oid,
    definition: &Definition,
    table: pg_sys::Oid,
) -> Result<()> {
    if bypasses(role) && !settings::superuser_tokens() {
        let name = names::role_name(role).unwrap_or_default();
        return Err(Error::new(
            Kind::InsufficientPrivilege,
            format!("role \"{name}\" must not have event sources"),
        )
        .detail("it is a superuser or has BYPASSRLS, and a token acts as the role that made it")
        .hint(format!(
            "make it as a role that may read the table: CREATE ROLE reader; GRANT SELECT ON {} TO reader; SET ROLE reader (event_source.superuser_tokens allows it to superusers, too)",
            names::qualified(table)?
        )));
    }
    if !compat::may_connect(role) {
        return Err(denied(role, "the database"));
    }
    require(role, definition, table)
}

/// Whether the role is bound by no rights or by no row security.
pub(super) fn bypasses(role: pg_sys::Oid) -> bool {
    // SAFETY: looks at the catalogs' caches; superusers bypass too.
    unsafe { pg_sys::has_bypassrls_privilege(role) }
}

/// Whether the role could read whole rows of a table by SELECT, all of them.
pub(crate) fn may_read_all(role: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    may_use_schema(role, table)
        && may_select(role, table, None, &BTreeSet::new())
        && !has_row_security(role, table)
}

/// Whether the role could read anything of a table by SELECT.
pub(crate) fn may_read_some(role: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    may_use_schema(role, table) && may_select_some(role, table)
}

/// Checks that the role could read anything of a table by SELECT: who may not is told nothing more.
///
/// # Errors
/// [`Kind::InsufficientPrivilege`] when it could not.
pub(crate) fn require_some(role: pg_sys::Oid, table: pg_sys::Oid) -> Result<()> {
    if !may_use_schema(role, table) {
        return Err(denied(role, &format!("the schema of table {}", names::qualified(table)?)));
    }
    if may_select_some(role, table) { Ok(()) } else { Err(denied_table(role, table)?) }
}

fn may_select_some(role: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    let select = pg_sys::ACL_SELECT as pg_sys::AclMode;
    let any = pg_sys::AclMaskHow::ACLMASK_ANY;
    let ok = pg_sys::AclResult::ACLCHECK_OK;
    // SAFETY: looks at the catalogs' caches.
    unsafe {
        pg_sys::pg_class_aclcheck(table, role, select) == ok
            || pg_sys::pg_attribute_aclcheck_all(table, role, select, any) == ok
    }
}

fn may_use_schema(role: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    // SAFETY: looks at the catalogs' caches.
    compat::may_use_schema(unsafe { pg_sys::get_rel_namespace(table) }, role)
}

fn has_row_security(role: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    // SAFETY: looks at the catalogs' caches.
    let security = unsafe { pg_sys::check_enable_rls(table, role, true) };
    security == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Checks that `role` may see everything that the source shows or tests.
pub(super) fn require(
    role: pg_sys::Oid,
    definition: &Definition,
    table: pg_sys::Oid,
) -> Result<()> {
    require_some(role, table)?;
    let tested = tested_columns(definition, table)?;
    if !may_select(role, table, definition.fields.as_deref(), &tested) {
        return Err(denied_table(role, table)?);
    }
    if has_row_security(role, table) {
        return Err(denied(role, &format!("table {}", names::qualified(table)?))
            .detail("row-level security applies to the role, and event sources do not honour it row by row")
            .hint("use a role to which it does not apply, and narrow the event source with a filter"));
    }
    Ok(())
}

fn may_select(
    role: pg_sys::Oid,
    table: pg_sys::Oid,
    fields: Option<&[i16]>,
    tested: &BTreeSet<i16>,
) -> bool {
    let select = pg_sys::ACL_SELECT as pg_sys::AclMode;
    let ok = pg_sys::AclResult::ACLCHECK_OK;
    // SAFETY: look at the catalogs' caches.
    unsafe {
        if pg_sys::pg_class_aclcheck(table, role, select) == ok {
            return true;
        }
        let Some(fields) = fields else {
            let all = pg_sys::AclMaskHow::ACLMASK_ALL;
            return pg_sys::pg_attribute_aclcheck_all(table, role, select, all) == ok;
        };
        fields
            .iter()
            .chain(tested)
            .all(|&column| pg_sys::pg_attribute_aclcheck(table, column, role, select) == ok)
    }
}

/// The columns that decide about membership and about which updates count.
///
/// A column that the definition names and that is gone ends the source: what it shows or tests is
/// no longer there.
fn tested_columns(definition: &Definition, table: pg_sys::Oid) -> Result<BTreeSet<i16>> {
    let named = definition.filter.iter().flat_map(|f| f.columns.iter().map(|(attnum, _)| *attnum));
    let named = named
        .chain(definition.watch.iter().flat_map(|watch| &watch.columns).copied())
        .chain(definition.fields.iter().flatten().copied());
    for attnum in named.clone() {
        if names::column_name(table, attnum).is_none() {
            return Err(Error::new(
                Kind::SchemaChanged,
                "a column that the event source names was dropped",
            )
            .hint("create a new event source"));
        }
    }
    let mut columns: BTreeSet<i16> = named.collect();
    match &definition.set {
        Set::Collection => {}
        Set::Index { index, .. } => columns.extend(index::of_source(index, table)?.all_columns()),
        Set::Row { .. } => {
            let primary = index::primary_key(table).ok_or_else(|| {
                Error::new(Kind::SchemaChanged, "the table no longer has a primary key")
            })?;
            columns.extend(primary.all_columns());
        }
    }
    // The events of a collection name rows by their primary key, whatever the fields are.
    if let Some(primary) = index::primary_key(table) {
        columns.extend(primary.all_columns());
    }
    if columns.remove(&0) {
        columns.extend(names::live_columns(table));
    }
    Ok(columns)
}

fn denied_table(role: pg_sys::Oid, table: pg_sys::Oid) -> Result<Error> {
    Ok(denied(role, &format!("table {}", names::qualified(table)?)).detail(
        "it needs SELECT on the table, or on every column that the event source shows or tests",
    ))
}

pub(super) fn denied(role: pg_sys::Oid, what: &str) -> Error {
    let role = names::role_name(role).unwrap_or_else(|| role.to_u32().to_string());
    Error::new(
        Kind::InsufficientPrivilege,
        format!("permission denied for {what} to role \"{role}\""),
    )
}
