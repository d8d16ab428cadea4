//! Tokens that another database minted, before it was dumped, restored, cloned or upgraded.
//!
//! What such a token says by number (the role, the index, columns) may be somebody else's number here. So
//! it is looked up by name; what is not found is an error, never another object. Roles belong to the whole
//! cluster: their names count only where the token is of another one. Runs in backends and in the worker;
//! reads the catalogs' caches only.

use event_source_model::source::{Named, Projection, Set, Source};
use pgrx::pg_sys;

use super::collection::Collection;
use super::{index, names};
use crate::error::{Error, Kind, Result};
use crate::order::history;

/// No object has this OID, so the name decides.
const NOBODY: u32 = 0;

/// Makes the source's definition one of this database, if it is not already.
///
/// # Errors
/// The role, the collection or a column is not here.
pub(super) fn adopt(source: &mut Source) -> Result<()> {
    source.definition.role.oid = role(source)?.to_u32();
    if !history::shares_oids(source.history) {
        adopt_relation(source)?;
    }
    Ok(())
}

/// The role of a source, as this cluster numbers it.
///
/// # Errors
/// It is not here.
pub(super) fn role(source: &Source) -> Result<pg_sys::Oid> {
    let named = &source.definition.role;
    let by_number = || names::role(named);
    if source.cluster == history::cluster_id() {
        return by_number();
    }
    if !history::shares_roles(source.cluster) {
        return names::role_named(&named.name).ok_or_else(|| names::no_role(named));
    }
    // Made before a failover, or on the server that was left behind by it, which may have given the
    // number to another role since.
    let is_same = |&oid: &pg_sys::Oid| names::role_name(oid).as_ref() == Some(&named.name);
    by_number().ok().filter(is_same).ok_or_else(|| names::no_role(named))
}

fn adopt_relation(source: &mut Source) -> Result<()> {
    forget_index(&mut source.definition.set);
    let definition = &mut source.definition;
    let table = Collection::of(definition)?.relation;
    let fields = definition.fields.as_ref().map_or(0, Vec::len);
    let (names_of_fields, names_of_watch) =
        source.columns.split_at_checked(fields).unwrap_or((&source.columns, &[]));
    if let Some(fields) = &mut definition.fields {
        let here = numbers(table, names_of_fields)?;
        for column in definition.projection.iter_mut().flat_map(Projection::columns) {
            if let Some(at) = fields.iter().position(|field| field == column) {
                *column = here[at];
            }
        }
        *fields = here;
        fields.sort_unstable();
    }
    if let Some(watch) = &mut definition.watch {
        watch.columns = numbers(table, names_of_watch)?;
        watch.columns.sort_unstable();
    }
    if let Set::Index { index: named, shape, .. } = &mut definition.set {
        let here = index::of_source(named, table)?;
        // By numbers it may be another one that looks alike.
        if source.index.is_none() || index::shape_by_names(here.oid) != source.index {
            return Err(Error::new(
                Kind::SchemaChanged,
                format!("index {} of the event source is another one", named.name),
            )
            .hint("get a new token"));
        }
        *shape = here.shape;
    }
    for (number, name) in definition.filter.iter_mut().flat_map(|filter| &mut filter.columns) {
        *number = self::number(table, name)?;
    }
    Ok(())
}

/// The index goes by its name.
fn forget_index(set: &mut Set) {
    if let Set::Index { index: Named { oid, .. }, .. } = set {
        *oid = NOBODY;
    }
}

/// In the order of the names.
fn numbers(table: pg_sys::Oid, names: &[String]) -> Result<Vec<i16>> {
    names.iter().map(|name| number(table, name)).collect()
}

fn number(table: pg_sys::Oid, name: &str) -> Result<i16> {
    let c_name = names::c_string(name)?;
    // SAFETY: answers 0 for a column that does not exist or was dropped.
    match unsafe { pg_sys::get_attnum(table, c_name.as_ptr()) } {
        0 => Err(Error::new(
            Kind::SourceGone,
            format!("column \"{name}\" of the event source does not exist"),
        )
        .detail("The database was restored or copied since the event source was made.")
        .hint("get a new token from event_source(...)")),
        number => Ok(number),
    }
}
