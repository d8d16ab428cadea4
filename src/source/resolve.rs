//! What a source names: a captured table, or an index of one.
//!
//! Runs in backends only. Everything that cannot be followed is refused here, with a hint that
//! lets the user go on.

use pgrx::{direct_function_call, pg_sys};

use super::collection::Collection;
use super::index::{self, Index};
use super::names;
use crate::compat;
use crate::error::{Error, Kind, Result};

/// What a source is about.
#[derive(Debug)]
pub(super) enum Target {
    Table { table: pg_sys::Oid, collection: Collection },
    Index { oid: pg_sys::Oid, index: Index, collection: Collection },
}

impl Target {
    pub(super) fn table(&self) -> pg_sys::Oid {
        self.collection().relation
    }

    pub(super) fn collection(&self) -> &Collection {
        match self {
            Self::Table { collection, .. } | Self::Index { collection, .. } => collection,
        }
    }
}

/// The relation of that name, found as `regclass` finds it: with the caller's search_path.
pub(super) fn relation_of_name(name: &str) -> Result<pg_sys::Oid> {
    let name = names::c_string(name)?;
    // SAFETY: regclassin takes a C string, and raises an ERROR for a name that is not there.
    let oid = unsafe {
        direct_function_call::<pg_sys::Oid>(
            pg_sys::regclassin,
            &[Some(pg_sys::Datum::from(name.as_ptr()))],
        )
    };
    oid.ok_or_else(|| Error::new(Kind::UndefinedObject, "the relation does not exist"))
}

/// What the relation is to a source.
pub(super) fn target(relation: pg_sys::Oid) -> Result<Target> {
    let name = names::qualified(relation)?;
    // SAFETY: only looks at the catalogs' caches.
    let kind = unsafe { pg_sys::get_rel_relkind(relation) } as u8;
    match kind {
        pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => {
            refuse_partition(relation, &name, "table")?;
            let collection = captured(relation, &name)?;
            Ok(Target::Table { table: relation, collection })
        }
        pg_sys::RELKIND_INDEX | pg_sys::RELKIND_PARTITIONED_INDEX => {
            refuse_partition(relation, &name, "index")?;
            let index = Index::find(relation).ok_or_else(|| {
                Error::new(Kind::UndefinedObject, format!("index {name} does not exist"))
            })?;
            let table_name = names::qualified(index.table)?;
            refuse_partition(index.table, &table_name, "table")?;
            let collection = captured(index.table, &table_name)?;
            index::require_equality(&index, &name)?;
            Ok(Target::Index { oid: relation, index, collection })
        }
        pg_sys::RELKIND_VIEW | pg_sys::RELKIND_MATVIEW => {
            Err(not_followed(format!("\"{name}\" is a view")).hint(VIEW_HINT))
        }
        pg_sys::RELKIND_FOREIGN_TABLE => {
            Err(not_followed(format!("\"{name}\" is a foreign table"))
                .hint("create the event source in the database that holds the table"))
        }
        _ => Err(not_followed(format!("\"{name}\" is neither a table nor an index"))
            .hint("name a captured table, or an index of one")),
    }
}

const VIEW_HINT: &str = "name the table under the view, with a filter where the view has one";

/// The table of which a row of this composite type is one, for its root partition's sake.
pub(super) fn table_of_row(row_type: pg_sys::Oid) -> Result<Target> {
    // SAFETY: only looks at the catalogs' caches.
    let relation = unsafe { pg_sys::get_typ_typrelid(row_type) };
    if row_type == pg_sys::RECORDOID || relation == pg_sys::InvalidOid {
        return Err(Error::new(Kind::WrongObjectType, "the row does not belong to a table")
            .detail("a row of a subquery, of ROW(...) or of a CTE does not say where it is from")
            .hint("pass the table's own row, as in SELECT event_source(p) FROM product p, or name the table and its key"));
    }
    // SAFETY: as above.
    let kind = unsafe { pg_sys::get_rel_relkind(relation) } as u8;
    let name = names::qualified(relation)?;
    match kind {
        pg_sys::RELKIND_VIEW | pg_sys::RELKIND_MATVIEW => {
            Err(not_followed(format!("the row is one of the view \"{name}\"")).hint(VIEW_HINT))
        }
        pg_sys::RELKIND_COMPOSITE_TYPE => {
            Err(not_followed(format!("the row is one of the composite type \"{name}\""))
                .hint("pass a table's own row, or name the table and its key"))
        }
        _ => target(root_of(relation)),
    }
}

fn captured(table: pg_sys::Oid, name: &str) -> Result<Collection> {
    // SAFETY: only looks at the catalogs' caches.
    let persistence = unsafe { pg_sys::get_rel_persistence(table) } as u8;
    if persistence == pg_sys::RELPERSISTENCE_TEMP {
        return Err(not_followed(format!("\"{name}\" is a temporary table"))
            .hint("only permanent tables can be followed"));
    }
    if table.to_u32() < pg_sys::FirstNormalObjectId {
        return Err(not_followed(format!("\"{name}\" is a system table"))
            .hint("only tables of users can be followed"));
    }
    Collection::seen_by_statement(table, name)
}

fn refuse_partition(relation: pg_sys::Oid, name: &str, what: &str) -> Result<()> {
    let root = root_of(relation);
    if root == relation {
        return Ok(());
    }
    let root = names::qualified(root)?;
    Err(not_followed(format!("{what} \"{name}\" is a partition"))
        .hint(format!("name {root}, of which it is a part, with a filter if need be")))
}

/// Of a partition the root, of anything else itself.
fn root_of(relation: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: only looks at the catalogs' caches.
    if !unsafe { pg_sys::get_rel_relispartition(relation) } {
        return relation;
    }
    compat::partition_root(relation).unwrap_or(relation)
}

fn not_followed(message: String) -> Error {
    Error::new(Kind::WrongObjectType, format!("{message} and cannot be followed"))
}
