//! What the catalogs say about a table and its root.
//!
//! Nothing here locks a user's table: a writer of a partition holds no lock on the root, and taking
//! one in its trigger would deadlock with an ALTER TABLE that goes from the root down. Runs in the
//! writers' backends, on their only thread.

use std::ffi::CStr;

use event_source_model::image::Column;
use pgrx::pg_sys;

use super::text::cstring;
use crate::pg::relation::Relation;

/// The output function of a type.
pub(super) fn output_function(oid: pg_sys::Oid) -> pg_sys::Oid {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: the out parameters are ours; raises an ERROR when there is no such type.
    unsafe { pg_sys::getTypeOutputInfo(oid, &mut function, &mut is_varlena) };
    function
}

/// The table that stands for the whole: of a partition the root, of any other table itself.
pub(super) fn root_of(table: &pg_sys::RelationData) -> pg_sys::Oid {
    // SAFETY: an open relation has its pg_class row; a partition has a root, so that the function
    // does not return null.
    unsafe {
        if !(*table.rd_rel).relispartition {
            return table.rd_id;
        }
        let function = pg_sys::Oid::from_u32(pg_sys::F_PG_PARTITION_ROOT);
        let root = pg_sys::OidFunctionCall1Coll(function, pg_sys::InvalidOid, table.rd_id.into());
        oid(root)
    }
}

/// The columns of a table, without dropped ones, in its order.
pub(super) fn columns(table: pg_sys::Oid) -> Vec<Column> {
    use pg_sys::SysCacheIdentifier::{ATTNUM, RELOID};
    // SAFETY: the rows are those of pg_class and pg_attribute, read before they are released.
    unsafe {
        let Some(class) = Cached::<pg_sys::FormData_pg_class>::find(RELOID, table, None) else {
            return Vec::new();
        };
        let count = (*class.row()).relnatts;
        let attributes = (1..=count).filter_map(|attnum| {
            let found = Cached::<pg_sys::FormData_pg_attribute>::find(ATTNUM, table, Some(attnum))?;
            let attribute = found.row();
            let name = cstring((&raw const (*attribute).attname.data).cast());
            (!(*attribute).attisdropped).then_some(Column { attnum, name })
        });
        attributes.collect()
    }
}

/// The column numbers of a table's primary key, in its order; empty when there is none.
pub(super) fn primary_key(table: pg_sys::Oid) -> Vec<i16> {
    let indexes = Relation::open(pg_sys::IndexRelationId, SHARED);
    let attribute = pg_sys::Anum_pg_index_indrelid as i16;
    let index = pg_sys::Oid::from_u32(pg_sys::IndexIndrelidIndexId);
    let mut key = Vec::new();
    scan(&indexes, index, attribute, table, |tuple| {
        // SAFETY: a row of pg_index; indkey has indnatts entries, key columns first.
        unsafe {
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>();
            if (*form).indisprimary && (*form).indisvalid {
                let numbers = (&raw const (*form).indkey.values).cast::<i16>();
                let count = (*form).indnkeyatts as usize;
                key = std::slice::from_raw_parts(numbers, count).to_vec();
            }
        }
    });
    key
}

/// A table or index of the extension.
pub(super) fn own_table(name: &CStr) -> pg_sys::Oid {
    // SAFETY: looks names up; raises an ERROR when the extension is not installed.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"event_source".as_ptr(), false);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// The id of the capture of a table, as of this moment.
pub(super) fn capture_of(table: pg_sys::Oid) -> Option<u64> {
    let (captures, index) = (own_table(c"capture"), own_table(c"capture_relation_key"));
    let captures = Relation::open(captures, SHARED);
    let mut id = None;
    scan(&captures, index, RELATION, table, |tuple| {
        let mut is_null = false;
        // SAFETY: a row of event_source.capture, whose first column is a bigint and not null.
        id = unsafe {
            let value = pg_sys::heap_getattr(tuple, ID, captures.tuple_desc(), &mut is_null);
            pgrx::FromDatum::from_datum(value, is_null).map(|id: i64| id as u64)
        };
    });
    id
}

const SHARED: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// Columns of `event_source.capture`.
const ID: i32 = 1;
const RELATION: i16 = 2;

/// Visits the rows whose column is `wanted`, under a snapshot of this moment.
fn scan(
    relation: &Relation,
    index: pg_sys::Oid,
    attribute: i16,
    wanted: pg_sys::Oid,
    mut visit: impl FnMut(pg_sys::HeapTuple),
) {
    // SAFETY: the relation is open and locked, the key is an oid column's; null for the snapshot
    // means the newest. The scan ends here, or with the transaction.
    unsafe {
        let mut key = pg_sys::ScanKeyData::default();
        let equal = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
        let function = pg_sys::Oid::from_u32(pg_sys::F_OIDEQ);
        pg_sys::ScanKeyInit(&mut key, attribute, equal, function, wanted.into());
        let none = std::ptr::null_mut();
        let scan = pg_sys::systable_beginscan(relation.as_ptr(), index, true, none, 1, &mut key);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            visit(tuple);
        }
        pg_sys::systable_endscan(scan);
    }
}

fn oid(datum: pg_sys::Datum) -> pg_sys::Oid {
    pg_sys::Oid::from_u32(datum.value() as u32)
}

/// A row of a system cache, released when this is dropped.
pub(super) struct Cached<T> {
    tuple: pg_sys::HeapTuple,
    kind: std::marker::PhantomData<T>,
}

impl<T> Cached<T> {
    /// # Safety
    /// `cache` is one whose rows are `T` and whose keys are these.
    pub(super) unsafe fn find(
        cache: pg_sys::SysCacheIdentifier::Type,
        key: pg_sys::Oid,
        second: Option<i16>,
    ) -> Option<Self> {
        // SAFETY: the caller's.
        let tuple = unsafe {
            match second {
                None => pg_sys::SearchSysCache1(cache as i32, key.into()),
                Some(second) => pg_sys::SearchSysCache2(cache as i32, key.into(), second.into()),
            }
        };
        (!tuple.is_null()).then_some(Self { tuple, kind: std::marker::PhantomData })
    }

    pub(super) fn row(&self) -> *const T {
        // SAFETY: the cache's rows are `T`, as `find` was promised.
        unsafe { pg_sys::GETSTRUCT(self.tuple) }.cast()
    }
}

impl<T> Drop for Cached<T> {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner of the aborted transaction releases it.
        if !std::thread::panicking() {
            // SAFETY: found by this handle and released only here.
            unsafe { pg_sys::ReleaseSysCache(self.tuple) }
        }
    }
}
