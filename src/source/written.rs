//! Indexes as SQL writes them: the columns' expressions, their types, and their operators by full name.
//!
//! An operator is named with its schema, since a type of an extension has its own `=`, which a
//! pinned `search_path` does not find. Runs in backends and in the worker; reads the catalogs' caches.

use event_source_model::source::Named;
use pgrx::spi::quote_identifier;
use pgrx::{IntoDatum as _, direct_function_call, pg_sys};

use super::index::{self, Index};
use super::names;
use crate::error::{Error, Kind, Result};
use crate::pg::pinned::PinnedSettings;
use crate::pg::relation::Relation;

/// An index.
#[derive(Debug)]
pub(crate) struct Written {
    /// Its key columns.
    pub(crate) keys: Vec<Column>,
    /// `true` where the index has none.
    pub(crate) predicate: String,
}

/// A key column of an index.
#[derive(Debug)]
pub(crate) struct Column {
    /// In parentheses.
    pub(crate) expression: String,
    /// The type of its values; of a domain the one below it: a value outside its checks is equal to none.
    pub(crate) of: pg_sys::Oid,
    /// As it stands in `operator(...)`; `None` where the access method has no such operator.
    pub(crate) equal: Option<String>,
    pub(crate) greater: Option<String>,
}

/// The primary key of a table. Waits for the table if somebody has locked it.
///
/// # Errors
/// The table has none.
pub(crate) fn primary_key(table: pg_sys::Oid) -> Result<Written> {
    Ok(written(&primary_index(table)?))
}

/// Whether rows of a table can be read in an order; waits for nobody.
///
/// # Errors
/// The table has no primary key.
pub(crate) fn check_primary_key(table: pg_sys::Oid) -> Result<()> {
    primary_index(table).map(drop)
}

fn primary_index(table: pg_sys::Oid) -> Result<Index> {
    match index::primary_key(table) {
        Some(primary) => Ok(primary),
        None => Err(Error::new(
            Kind::WrongObjectType,
            format!("table {} has no primary key", names::qualified(table)?),
        )
        .detail("rows are read in the order of their primary key")
        .hint("add a primary key")),
    }
}

/// The index of a source.
///
/// # Errors
/// It is gone.
pub(crate) fn index(named: &Named, table: pg_sys::Oid) -> Result<Written> {
    Ok(written(&index::of_source(named, table)?))
}

fn written(index: &Index) -> Written {
    let _pinned = PinnedSettings::enter();
    let relation = Relation::open(index.oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    let column = |at: usize| {
        // SAFETY: the relation is an open index, with a family and a type for each key column.
        let (family, input) =
            unsafe { (*relation.rd_opfamily.add(at), *relation.rd_opcintype.add(at)) };
        let strategies = match index.access_method {
            pg_sys::HASH_AM_OID => (pg_sys::HTEqualStrategyNumber, None),
            _ => (pg_sys::BTEqualStrategyNumber, Some(pg_sys::BTGreaterStrategyNumber)),
        };
        let operator = |strategy: u32| operator_name(family, input, strategy);
        Column {
            expression: expression(index.oid, at),
            // SAFETY: looks at the catalogs' caches.
            of: unsafe { pg_sys::getBaseType(index.key_types[at]) },
            equal: operator(strategies.0),
            greater: strategies.1.and_then(operator),
        }
    };
    Written {
        keys: (0..index.keys).map(column).collect(),
        predicate: index::predicate(index.oid).unwrap_or_else(|| "true".to_owned()),
    }
}

fn expression(index: pg_sys::Oid, at: usize) -> String {
    let arguments = [index.into_datum(), (at as i32 + 1).into_datum(), false.into_datum()];
    // SAFETY: pg_get_indexdef of an index, a column counted from 1, and no pretty printing.
    let text = unsafe { direct_function_call::<String>(pg_sys::pg_get_indexdef_ext, &arguments) };
    format!("({})", text.expect("a key column of an index that is open is there"))
}

/// A type as SQL writes it, with its schema where it needs one.
pub(super) fn type_name(of: pg_sys::Oid) -> String {
    // SAFETY: any OID may be asked for; the text is a C string.
    unsafe {
        let qualified = pg_sys::FORMAT_TYPE_FORCE_QUALIFY as pg_sys::bits16;
        names::text(pg_sys::format_type_extended(of, -1, qualified)).unwrap_or_default()
    }
}

/// `schema.=`, as it stands in `operator(...)`.
fn operator_name(family: pg_sys::Oid, input: pg_sys::Oid, strategy: u32) -> Option<String> {
    // SAFETY: lookups in the caches; the tuple is released after its names were copied.
    unsafe {
        let operator = pg_sys::get_opfamily_member(family, input, input, strategy as i16);
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::OPEROID as i32,
            pg_sys::Datum::from(operator),
        );
        if tuple.is_null() {
            return None;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_operator>();
        let name = names::text((*form).oprname.data.as_ptr());
        let schema = names::text(pg_sys::get_namespace_name((*form).oprnamespace));
        pg_sys::ReleaseSysCache(tuple);
        Some(format!("{}.{}", quote_identifier(schema?), name?))
    }
}
