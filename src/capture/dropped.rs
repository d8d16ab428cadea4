//! Tables that are dropped: the rows of a partition leave the collection with it.
//!
//! No trigger of ours can see that, so this is PostgreSQL's hook for objects that are about to be
//! dropped: it is called for every one of them, whichever statement drops it (DROP TABLE, DROP
//! SCHEMA ... CASCADE, DROP OWNED), while it is still there and locked against everybody else. Runs
//! in the backend of whoever drops something, in the middle of PostgreSQL's deletion: it only reads
//! the catalogs and the table, and never runs SQL. For what is not captured it costs a look-up.

use pgrx::prelude::*;

use super::catalog::{self, Cached};
use super::scan::{Fate, push_all};
use super::table::Table;
use crate::compat;
use crate::error::{Result, raised};
use crate::pg::relation::Relation;

static mut PREVIOUS: pg_sys::object_access_hook_type = None;

/// Called once, when the library is loaded.
pub(super) fn init() {
    // SAFETY: the postmaster loads libraries on its only thread.
    unsafe {
        PREVIOUS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(on_access);
    }
}

/// Called for each function that a statement uses as well, so it is not guarded before there is something to
/// do. What another library's hook raises jumps over this frame, in which nothing has a destructor.
unsafe extern "C-unwind" fn on_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: i32,
    argument: *mut std::ffi::c_void,
) {
    // SAFETY: written once, before any process could call the hook; its owner's own arguments.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous(access, class, object, part, argument);
        }
        let is_drop = access == pg_sys::ObjectAccessType::OAT_DROP;
        if is_drop && class == pg_sys::RelationRelationId && part == 0 {
            on_drop(object);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_drop(relation: pg_sys::Oid) {
    raised(before_drop(relation));
}

/// What is going to be dropped, as far as it matters here.
struct Doomed {
    kind: u8,
    toast: pg_sys::Oid,
    row_type: pg_sys::Oid,
}

impl Doomed {
    fn of(relation: pg_sys::Oid) -> Option<Self> {
        use pg_sys::SysCacheIdentifier::RELOID;
        // SAFETY: the rows of that cache are those of pg_class.
        unsafe {
            let class = Cached::<pg_sys::FormData_pg_class>::find(RELOID, relation, None)?;
            let row = &*class.row();
            Some(Self { kind: row.relkind as u8, toast: row.reltoastrelid, row_type: row.reltype })
        }
    }

    /// Its TOAST table went before it, and with that its rows were read.
    fn has_lost_toast(&self) -> bool {
        self.toast != pg_sys::InvalidOid && Self::of(self.toast).is_none()
    }
}

fn before_drop(relation: pg_sys::Oid) -> Result<()> {
    let Some(doomed) = Doomed::of(relation) else { return Ok(()) };
    match doomed.kind {
        pg_sys::RELKIND_RELATION if doomed.has_lost_toast() => Ok(()),
        pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => table_goes(relation),
        pg_sys::RELKIND_INDEX | pg_sys::RELKIND_PARTITIONED_INDEX => {
            catalog::table_of_index(relation).map_or(Ok(()), index_goes)
        }
        _ => Ok(()),
    }
}

/// The rows of a partition are removed from the collection of its root. A captured table that goes
/// as a whole ends its collection, and with it the streams: that says it all.
fn table_goes(table: pg_sys::Oid) -> Result<()> {
    let root = catalog::root_of(table);
    let Some(collection) = capture_that_stays(root) else { return Ok(()) };
    let relation = Relation::open(table, NO_LOCK);
    // SAFETY: an open relation has its pg_class row.
    let holds_rows = unsafe { (*relation.rd_rel).relkind as u8 } == pg_sys::RELKIND_RELATION;
    if is_going(root) || table == root {
        crate::log::heartbeat()
    } else if holds_rows {
        push_all(&relation, &Table::build(&relation, root, Some(collection)), collection, Fate::Go)
    } else {
        Ok(())
    }
}

/// Of a table that goes, the index of its TOAST table goes before everything else without which its
/// rows could not be read any more. A REINDEX CONCURRENTLY drops such an index as well.
fn index_goes(indexed: pg_sys::Oid) -> Result<()> {
    let is_toast = Doomed::of(indexed).is_some_and(|t| t.kind == pg_sys::RELKIND_TOASTVALUE);
    let owner = if is_toast { catalog::owner_of_toast(indexed) } else { None };
    match owner {
        Some(table) if is_going(table) => table_goes(table),
        Some(_) => Ok(()),
        // The worker looks again at sources when something is committed: this is.
        None if capture_that_stays(catalog::root_of(indexed)).is_some() => crate::log::heartbeat(),
        None => Ok(()),
    }
}

/// The capture of a table, unless the statement drops the extension and its log as well.
fn capture_that_stays(root: pg_sys::Oid) -> Option<u64> {
    let extension = catalog::extension()?;
    let goes = compat::holds_exclusively(pg_sys::ExtensionRelationId, extension);
    if goes { None } else { catalog::capture_of(root) }
}

/// Whether the same statement drops the root as well: a deletion locks all its objects before it
/// begins, the row type of a table among them, which nothing else locks in this way.
fn is_going(root: pg_sys::Oid) -> bool {
    Doomed::of(root)
        .is_none_or(|root| compat::holds_exclusively(pg_sys::TypeRelationId, root.row_type))
}

/// The deletion holds the exclusive lock.
const NO_LOCK: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;
