//! Who may see a source: SELECT on everything that it shows or tests, and no row security.
//!
//! Runs in backends and in the worker, at mint, at every use and while streams are open. It reads
//! the catalogs' caches and takes no lock on the table.

use std::collections::BTreeSet;

use event_source_model::source::{Definition, Set};
use pgrx::pg_sys;

use super::collection::Collection;
use super::{index, names};
use crate::compat;
use crate::error::{Error, Kind, Result};

/// Checks again that the source's collection is captured and that its role may see it.
///
/// # Errors
/// [`Kind::SourceGone`], [`Kind::SchemaChanged`] or [`Kind::InsufficientPrivilege`].
pub(crate) fn check(definition: &Definition) -> Result<()> {
    let collection = Collection::of(definition)?;
    require(names::role(&definition.role)?, definition, collection.relation)
}

/// Checks that `role` may see everything that the source shows or tests.
pub(super) fn require(
    role: pg_sys::Oid,
    definition: &Definition,
    table: pg_sys::Oid,
) -> Result<()> {
    let tested = tested_columns(definition, table)?;
    // SAFETY: looks at the catalogs' caches.
    let schema = unsafe { pg_sys::get_rel_namespace(table) };
    if !compat::may_use_schema(schema, role) {
        return Err(denied(role, &format!("the schema of table {}", names::qualified(table)?)));
    }
    if !may_select(role, table, definition.fields.as_deref(), &tested) {
        return Err(denied(role, &format!("table {}", names::qualified(table)?)).detail(
            "it needs SELECT on the table, or on every column that the event source shows or tests",
        ));
    }
    // SAFETY: looks at the catalogs' caches.
    let security = unsafe { pg_sys::check_enable_rls(table, role, true) };
    if security == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 {
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

fn denied(role: pg_sys::Oid, what: &str) -> Error {
    let role = names::role_name(role).unwrap_or_else(|| role.to_u32().to_string());
    Error::new(
        Kind::InsufficientPrivilege,
        format!("permission denied for {what} to role \"{role}\""),
    )
}
