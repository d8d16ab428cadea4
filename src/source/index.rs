//! A PostgreSQL index as the definition of a set: its key columns and everything it reads.
//!
//! Runs in backends and in the worker. It reads the catalogs' caches and locks neither the index
//! nor its table: a re-check of rights must not wait behind an `ALTER TABLE`.

use std::collections::BTreeSet;
use std::ffi::CStr;

use event_source_model::source::Named;
use pgrx::{IntoDatum as _, PgList, direct_function_call, pg_sys};
use sha2::{Digest as _, Sha256};

use super::names;
use crate::error::{Error, Kind, Result};
use crate::pg::pinned::PinnedSettings;

/// An index, as `pg_index` describes it.
#[derive(Debug)]
pub(super) struct Index {
    pub oid: pg_sys::Oid,
    pub table: pg_sys::Oid,
    pub valid: bool,
    pub primary: bool,
    pub access_method: pg_sys::Oid,
    /// The key columns, then those of INCLUDE: column numbers, 0 for an expression.
    pub columns: Vec<i16>,
    /// How many of `columns` are key columns.
    pub keys: usize,
    /// The types of the key columns.
    pub key_types: Vec<pg_sys::Oid>,
    /// Columns that its expressions and its predicate read; 0 stands for the whole row.
    pub reads: BTreeSet<i16>,
    /// A hash of the columns, the expressions and the predicate, whatever the index is called.
    pub shape: u64,
}

impl Index {
    /// `None` when there is no such index.
    pub(super) fn find(index: pg_sys::Oid) -> Option<Self> {
        // SAFETY: the tuple is released after everything in it was copied.
        unsafe {
            let tuple = pg_sys::SearchSysCache1(
                pg_sys::SysCacheIdentifier::INDEXRELID as i32,
                pg_sys::Datum::from(index),
            );
            if tuple.is_null() {
                return None;
            }
            let found = Self::read(index, tuple);
            pg_sys::ReleaseSysCache(tuple);
            Some(found)
        }
    }

    /// # Safety
    /// `tuple` is a row of `pg_index`.
    unsafe fn read(index: pg_sys::Oid, tuple: pg_sys::HeapTuple) -> Self {
        // SAFETY: the caller's; `indkey` has `indnatts` elements.
        unsafe {
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>();
            let columns = form.indkey.values.as_slice(form.indnatts as usize).to_vec();
            let expressions = nodes(tuple, pg_sys::Anum_pg_index_indexprs);
            let predicate = nodes(tuple, pg_sys::Anum_pg_index_indpred);
            let shape = shape(&columns, form.indnkeyatts, [expressions, predicate]);
            let mut reads = columns_of(expressions);
            reads.extend(columns_of(predicate));

            let expressions = PgList::<pg_sys::Node>::from_pg(expressions);
            let mut expressions = expressions.iter_ptr();
            let keys = form.indnkeyatts as usize;
            let key_types = columns[..keys]
                .iter()
                .map(|&column| match column {
                    0 => pg_sys::exprType(
                        expressions
                            .next()
                            .expect("an index has an expression for each 0 in indkey"),
                    ),
                    column => pg_sys::get_atttype(form.indrelid, column),
                })
                .collect();
            Self {
                oid: index,
                table: form.indrelid,
                valid: form.indisvalid && form.indisready && form.indislive,
                primary: form.indisprimary,
                access_method: access_method(index),
                columns,
                keys,
                key_types,
                reads,
                shape,
            }
        }
    }

    /// Every column that the set shows or tests through the index.
    pub(super) fn all_columns(&self) -> BTreeSet<i16> {
        self.columns.iter().copied().filter(|&c| c != 0).chain(self.reads.iter().copied()).collect()
    }
}

/// The primary key of a table, `None` when it has none.
pub(super) fn primary_key(table: pg_sys::Oid) -> Option<Index> {
    indexes(table).into_iter().filter_map(Index::find).find(|index| index.primary)
}

/// All indexes of a table.
pub(crate) fn indexes(table: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: a scan of pg_index under the catalogs' own snapshot.
    unsafe {
        let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_index_indrelid as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_OIDEQ),
            pg_sys::Datum::from(table),
        );
        let catalog = crate::pg::relation::Relation::open(
            pg_sys::IndexRelationId,
            pg_sys::AccessShareLock as pg_sys::LOCKMODE,
        );
        let scan = pg_sys::systable_beginscan(
            catalog.as_ptr(),
            pg_sys::Oid::from(pg_sys::IndexIndrelidIndexId),
            true,
            std::ptr::null_mut(),
            1,
            &mut key,
        );
        let mut indexes = Vec::new();
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>();
            indexes.push(form.indexrelid);
        }
        pg_sys::systable_endscan(scan);
        indexes
    }
}

/// The index of a source: by OID if that is an index of its table, else by name (a REINDEX
/// CONCURRENTLY gives the name to a new OID).
///
/// # Errors
/// [`Kind::SourceGone`] when neither is there.
pub(super) fn of_source(named: &Named, table: pg_sys::Oid) -> Result<Index> {
    let belongs = |index: &Index| index.table == table;
    if let Some(index) = Index::find(pg_sys::Oid::from(named.oid)).filter(belongs) {
        return Ok(index);
    }
    // SAFETY: to_regclass takes one text and answers null for a name that is not there.
    let by_name = unsafe {
        direct_function_call::<pg_sys::Oid>(
            pg_sys::to_regclass,
            &[named.name.as_str().into_datum()],
        )
    };
    by_name.and_then(Index::find).filter(belongs).ok_or_else(|| {
        Error::new(Kind::SourceGone, format!("index {} of the event source is gone", named.name))
    })
}

/// The shape of an index, `None` when there is no such index.
pub(crate) fn shape_of(index: pg_sys::Oid) -> Option<u64> {
    Index::find(index).map(|index| index.shape)
}

/// What a set knows of its rows beside the terms.
#[derive(Debug)]
pub(crate) struct Covered {
    /// The index's columns that are no terms; 0 stands for an expression.
    pub(crate) columns: Vec<(String, i16)>,
    /// The columns that a role must be allowed to see: those, or at least the key's.
    pub(crate) seen: Vec<String>,
}

/// What a set of an index with so many terms covers; without an index nothing. `None` for a table that
/// has neither such columns nor a key.
pub(crate) fn covered(
    table: pg_sys::Oid,
    index: Option<pg_sys::Oid>,
    terms: usize,
) -> Option<Covered> {
    let numbers = index.and_then(Index::find).map(|index| index.columns).unwrap_or_default();
    let name = |number: i16| names::column_name(table, number);
    let columns: Vec<(String, i16)> = numbers
        .into_iter()
        .skip(terms)
        .map(|number| (name(number).unwrap_or_default(), number))
        .collect();
    let named = columns.iter().filter(|(_, number)| *number != 0);
    let mut seen: Vec<String> = named.map(|(name, _)| name.clone()).collect();
    if seen.is_empty() {
        seen = primary_key(table)?.columns.into_iter().filter_map(name).collect();
    }
    Some(Covered { columns, seen })
}

/// A hash of the key columns, the expressions and the predicate as another database names them too;
/// `None` when there is no such index.
pub(super) fn shape_by_names(index: pg_sys::Oid) -> Option<u64> {
    let _pinned = PinnedSettings::enter();
    Index::find(index)?;
    // SAFETY: the index is there.
    let keys = unsafe { names::text(pg_sys::pg_get_indexdef_columns(index, false)) };
    let mut hash = Sha256::new();
    hash.update(keys.unwrap_or_default().as_bytes());
    hash.update([0]);
    hash.update(predicate(index).unwrap_or_default().as_bytes());
    Some(first_bytes(hash))
}

/// The predicate of an index as SQL, `None` when it has none. Under pinned settings every name in it has
/// its schema.
pub(super) fn predicate(index: pg_sys::Oid) -> Option<String> {
    // SAFETY: the tuple is released after its predicate was copied into a text.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::INDEXRELID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(index));
        if tuple.is_null() {
            return None;
        }
        let table = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>()).indrelid;
        let mut none = false;
        let column = pg_sys::Anum_pg_index_indpred as pg_sys::AttrNumber;
        let predicate = pg_sys::SysCacheGetAttr(cache, tuple, column, &mut none);
        let arguments = [Some(predicate), table.into_datum()];
        let predicate = (!none)
            .then(|| direct_function_call::<String>(pg_sys::pg_get_expr, &arguments))
            .flatten();
        pg_sys::ReleaseSysCache(tuple);
        predicate
    }
}

/// Whether equality is defined by the index: what terms need.
pub(super) fn require_equality(index: &Index, name: &str) -> Result<()> {
    if !index.valid {
        return Err(Error::new(Kind::WrongObjectType, format!("index {name} is not valid"))
            .hint("wait until it is built, or run REINDEX"));
    }
    if index.access_method != pg_sys::BTREE_AM_OID && index.access_method != pg_sys::HASH_AM_OID {
        return Err(Error::new(Kind::WrongObjectType, format!("index {name} cannot define a set"))
            .detail("its access method does not say which values are equal")
            .hint("use a btree or hash index, or the table with a filter"));
    }
    Ok(())
}

/// Columns that an expression or a list of them reads; 0 stands for the whole row.
///
/// # Safety
/// `node` is null or an expression over one relation, numbered 1.
pub(super) unsafe fn columns_of<T>(node: *mut T) -> BTreeSet<i16> {
    let mut columns = BTreeSet::new();
    // SAFETY: the caller's; the set counts from the lowest system column.
    unsafe {
        let mut set: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        pg_sys::pull_varattnos(node.cast(), 1, &mut set);
        let mut member = -1;
        loop {
            member = pg_sys::bms_next_member(set, member);
            if member < 0 {
                break;
            }
            columns.insert((member + pg_sys::FirstLowInvalidHeapAttributeNumber) as i16);
        }
    }
    columns
}

/// # Safety
/// `tuple` is a row of `pg_index`, `column` one of its pg_node_tree columns.
unsafe fn nodes(tuple: pg_sys::HeapTuple, column: u32) -> *mut pg_sys::List {
    let mut null = false;
    // SAFETY: the caller's.
    unsafe {
        let datum = pg_sys::SysCacheGetAttr(
            pg_sys::SysCacheIdentifier::INDEXRELID as i32,
            tuple,
            column as pg_sys::AttrNumber,
            &mut null,
        );
        if null {
            return std::ptr::null_mut();
        }
        pg_sys::stringToNode(pg_sys::text_to_cstring(datum.cast_mut_ptr())).cast()
    }
}

/// # Safety
/// The nodes are null or expressions that were read from a catalog: without places in a text.
unsafe fn shape(columns: &[i16], keys: i16, nodes: [*mut pg_sys::List; 2]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(keys.to_be_bytes());
    for column in columns {
        hash.update(column.to_be_bytes());
    }
    for node in nodes {
        // SAFETY: the caller's; the result is a palloc'd C string.
        let text = unsafe { CStr::from_ptr(pg_sys::nodeToString(node.cast())) };
        hash.update(text.to_bytes_with_nul());
    }
    first_bytes(hash)
}

fn access_method(index: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the tuple is released after the OID was copied.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(index),
        );
        if tuple.is_null() {
            return pg_sys::InvalidOid;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
        let method = (*form).relam;
        pg_sys::ReleaseSysCache(tuple);
        method
    }
}

/// The names of the key columns, for error texts.
pub(super) fn key_names(index: &Index) -> String {
    let names = index.columns[..index.keys].iter().map(|&column| match column {
        0 => "(expression)".to_owned(),
        column => names::column_name(index.table, column).unwrap_or_else(|| column.to_string()),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn first_bytes(hash: Sha256) -> u64 {
    let digest = hash.finalize();
    u64::from_be_bytes(*digest.first_chunk().expect("SHA-256 has more than eight bytes"))
}
