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
///
/// A partition that is between the two steps of DETACH CONCURRENTLY is still one: what is written
/// to it before the second step must have its events, since that step takes its rows away.
pub(super) fn root_of(table: pg_sys::Oid) -> pg_sys::Oid {
    let mut root = table;
    while is_partition(root)
        && let Some(parent) = parent_of(root)
    {
        root = parent;
    }
    root
}

/// Whether the table is a partition; false for one that is gone.
pub(super) fn is_partition(table: pg_sys::Oid) -> bool {
    use pg_sys::SysCacheIdentifier::RELOID;
    // SAFETY: the rows of that cache are those of pg_class.
    unsafe {
        let class = Cached::<pg_sys::FormData_pg_class>::find(RELOID, table, None);
        class.is_some_and(|class| (*class.row()).relispartition)
    }
}

fn parent_of(partition: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let inherits = Relation::open(INHERITS, SHARED);
    let mut parent = None;
    let child = Equal { column: 1, function: pg_sys::F_OIDEQ, value: partition.into() };
    scan(&inherits, INHERITS_BY_CHILD, &[child], |tuple| {
        parent = column(tuple, &inherits, 2).map(oid);
    });
    parent
}

/// The table that an index is on.
pub(super) fn table_of_index(index: pg_sys::Oid) -> Option<pg_sys::Oid> {
    use pg_sys::SysCacheIdentifier::INDEXRELID;
    // SAFETY: the rows of that cache are those of pg_index.
    unsafe {
        let found = Cached::<pg_sys::FormData_pg_index>::find(INDEXRELID, index, None)?;
        Some((*found.row()).indrelid)
    }
}

/// The table whose large values a TOAST table holds.
pub(super) fn owner_of_toast(toast: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let depends = Relation::open(DEPEND, SHARED);
    let mut owner = None;
    let class = pg_sys::RelationRelationId;
    let keys = [
        Equal { column: 1, function: pg_sys::F_OIDEQ, value: class.into() },
        Equal { column: 2, function: pg_sys::F_OIDEQ, value: toast.into() },
    ];
    scan(&depends, DEPEND_BY_DEPENDER, &keys, |tuple| {
        if column(tuple, &depends, 4).map(oid) == Some(class) {
            owner = column(tuple, &depends, 5).map(oid);
        }
    });
    owner
}

// Not in pgrx's bindings; fixed numbers of the catalogs, the same in all versions.
const INHERITS: pg_sys::Oid = pg_sys::Oid::from_u32(2611);
const INHERITS_BY_CHILD: pg_sys::Oid = pg_sys::Oid::from_u32(2680);
const DEPEND: pg_sys::Oid = pg_sys::Oid::from_u32(2608);
const DEPEND_BY_DEPENDER: pg_sys::Oid = pg_sys::Oid::from_u32(2673);

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
    let column = pg_sys::Anum_pg_index_indrelid as i16;
    let index = pg_sys::Oid::from_u32(pg_sys::IndexIndrelidIndexId);
    let of_table = Equal { column, function: pg_sys::F_OIDEQ, value: table.into() };
    let mut key = Vec::new();
    scan(&indexes, index, &[of_table], |tuple| {
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
    // SAFETY: looks names up, and answers an invalid OID for what is not there.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"event_source".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// The extension, where it is installed.
pub(super) fn extension() -> Option<pg_sys::Oid> {
    // SAFETY: looks a name up.
    let extension = unsafe { pg_sys::get_extension_oid(c"event_source".as_ptr(), true) };
    (extension != pg_sys::InvalidOid).then_some(extension)
}

/// The id of the capture of a table, as of this moment. `None` also where the extension is not
/// installed, or is just being dropped.
pub(super) fn capture_of(table: pg_sys::Oid) -> Option<u64> {
    extension()?;
    let (captures, index) = (own_table(c"capture"), own_table(c"capture_relation_key"));
    if captures == pg_sys::InvalidOid || index == pg_sys::InvalidOid {
        return None;
    }
    let captures = Relation::open(captures, SHARED);
    let mut id = None;
    let of_table = Equal { column: RELATION, function: pg_sys::F_OIDEQ, value: table.into() };
    scan(&captures, index, &[of_table], |tuple| {
        id = column(tuple, &captures, ID).map(|value| value.value() as u64);
    });
    id
}

const SHARED: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// Columns of `event_source.capture`.
const ID: i32 = 1;
const RELATION: i16 = 2;

/// A condition of a scan: `column = value`, by the function behind that `=`.
struct Equal {
    column: i16,
    function: u32,
    value: pg_sys::Datum,
}

/// Visits the rows that fulfil all conditions, under a snapshot of this moment.
fn scan(
    relation: &Relation,
    index: pg_sys::Oid,
    conditions: &[Equal],
    mut visit: impl FnMut(pg_sys::HeapTuple),
) {
    let equal = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
    let mut keys = vec![pg_sys::ScanKeyData::default(); conditions.len()];
    // SAFETY: the relation is open and locked, the conditions are of its columns; null for the
    // snapshot means the newest. The scan ends here, or with the transaction.
    unsafe {
        for (key, condition) in keys.iter_mut().zip(conditions) {
            let function = pg_sys::Oid::from_u32(condition.function);
            pg_sys::ScanKeyInit(key, condition.column, equal, function, condition.value);
        }
        let (count, first) = (keys.len() as i32, keys.as_mut_ptr());
        let none = std::ptr::null_mut();
        let scan = pg_sys::systable_beginscan(relation.as_ptr(), index, true, none, count, first);
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

/// A column of a row, `None` for null.
fn column(tuple: pg_sys::HeapTuple, relation: &Relation, number: i32) -> Option<pg_sys::Datum> {
    let mut is_null = false;
    // SAFETY: a row of the open relation, which has a column of that number.
    let value = unsafe { pg_sys::heap_getattr(tuple, number, relation.tuple_desc(), &mut is_null) };
    (!is_null).then_some(value)
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
        // Not `then_some`: it would make, and release, a row that is not there.
        (!tuple.is_null()).then(|| Self { tuple, kind: std::marker::PhantomData })
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
