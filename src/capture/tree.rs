//! Which tables can be captured, and why the others cannot.
//!
//! A captured table is one whose every row is reached by row triggers, survives a crash and is in
//! this database. Runs in the backend of whoever captures a table or changes a captured one.

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::catalog::{self, Cached};
use super::text::cstring;
use crate::error::{Error, Kind, Result};

unsafe extern "C-unwind" {
    // Not in pgrx's bindings; the same from PostgreSQL 13 to 18.
    fn find_all_inheritors(
        parent: pg_sys::Oid,
        lock: pg_sys::LOCKMODE,
        parents: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
    fn has_superclass(relation: pg_sys::Oid) -> bool;
}

/// A table with all its partitions, or with the tables that inherit from it.
#[derive(Debug)]
pub(super) struct Tree(Vec<Member>);

/// The root is the first.
#[derive(Clone, Copy, Debug)]
struct Member {
    oid: pg_sys::Oid,
    /// We have a lock on it.
    held: bool,
}

impl Tree {
    /// Waits for `lock` on all of them, as long as `lock_timeout` allows.
    pub(super) fn lock(root: pg_sys::Oid, lock: u32) -> Self {
        let lock = lock as pg_sys::LOCKMODE;
        // SAFETY: takes any OID.
        unsafe { pg_sys::LockRelationOid(root, lock) };
        let member = |oid| Member { oid, held: true };
        Self(members(root, lock).into_iter().map(member).collect())
    }

    /// Takes a lock on those of them that nobody else is altering, without waiting. Whoever alters one
    /// looks after it at the end of that command; to wait for that, behind the locks of a command
    /// of our own, would be a deadlock: `pg_restore --jobs` makes the keys of a table and of its
    /// partitions at the same time.
    pub(super) fn at_hand(root: pg_sys::Oid) -> Self {
        const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let member = |oid| {
            // SAFETY: both take any OID; one that was dropped meanwhile has no kind.
            let held = unsafe {
                pg_sys::ConditionalLockRelationOid(oid, LOCK) && pg_sys::get_rel_relkind(oid) != 0
            };
            Member { oid, held }
        };
        let no_lock = pg_sys::NoLock as pg_sys::LOCKMODE;
        Self(members(root, no_lock).into_iter().map(member).collect())
    }

    /// # Errors
    /// [`Kind::WrongObjectType`] or [`Kind::FeatureNotSupported`], with a hint, for the first table
    /// that cannot be captured, among those that we hold.
    pub(super) fn check(&self) -> Result<()> {
        let (root, others) = self.0.split_first().expect("a tree has its root");
        if root.held {
            check_root(root.oid, others.is_empty())?;
        }
        let mut held = others.iter().filter(|member| member.held);
        held.try_for_each(|member| check_kind(member.oid, Relation::of(member.oid)?))
    }
}

/// The root and all below it, each of these with `lock`.
fn members(root: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Vec<pg_sys::Oid> {
    // SAFETY: an ordinary C function, called through the guard; the list holds OIDs.
    unsafe {
        let list = pg_guard_ffi_boundary(|| find_all_inheritors(root, lock, std::ptr::null_mut()));
        (0..pg_sys::list_length(list)).map(|i| pg_sys::list_nth_oid(list, i)).collect()
    }
}

/// What pg_class says about a relation.
struct Relation {
    kind: u8,
    persistence: u8,
    access_method: pg_sys::Oid,
    schema: pg_sys::Oid,
    is_partition: bool,
}

impl Relation {
    fn of(oid: pg_sys::Oid) -> Result<Self> {
        use pg_sys::SysCacheIdentifier::RELOID;
        // SAFETY: the rows of that cache are those of pg_class.
        unsafe {
            let class = Cached::<pg_sys::FormData_pg_class>::find(RELOID, oid, None)
                .ok_or_else(|| no_such_table(oid))?;
            let row = &*class.row();
            Ok(Self {
                kind: row.relkind as u8,
                persistence: row.relpersistence as u8,
                access_method: row.relam,
                schema: row.relnamespace,
                is_partition: row.relispartition,
            })
        }
    }
}

/// The error for an OID of no relation.
pub(super) fn no_such_table(oid: pg_sys::Oid) -> Error {
    Error::new(Kind::UndefinedObject, format!("relation with OID {} does not exist", oid.to_u32()))
}

/// A table's name with its schema, quoted where needed.
pub(super) fn qualified_name(oid: pg_sys::Oid) -> Result<String> {
    // SAFETY: palloc'd C strings, null when the relation has just gone.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        if name.is_null() || schema.is_null() {
            return Err(no_such_table(oid));
        }
        Ok(cstring(pg_sys::quote_qualified_identifier(schema, name)))
    }
}

/// # Errors
/// [`Kind::WrongObjectType`] for a partition; the hint names its root.
pub(super) fn check_whole(oid: pg_sys::Oid) -> Result<()> {
    if !Relation::of(oid)?.is_partition {
        return Ok(());
    }
    let root = qualified_name(catalog::root_of(oid))?;
    let message = format!("{} is a partition of {root}", qualified_name(oid)?);
    Err(Error::new(Kind::WrongObjectType, message)
        .detail("A partitioned table is captured as a whole.")
        .hint(format!("name the root: '{root}'")))
}

fn check_root(oid: pg_sys::Oid, is_alone: bool) -> Result<()> {
    let relation = Relation::of(oid)?;
    // SAFETY: reads pg_inherits, and looks up a name.
    let (is_child, own_schema) = unsafe {
        let schema = pg_sys::get_namespace_oid(c"event_source".as_ptr(), true);
        (pg_guard_ffi_boundary(|| has_superclass(oid)), schema)
    };
    let is_partitioned = relation.kind == pg_sys::RELKIND_PARTITIONED_TABLE;
    check_whole(oid)?;
    if oid.to_u32() < pg_sys::FirstNormalObjectId {
        return Err(refused(oid, "is a system table")?.hint(
            "capture tables of your own; an event trigger can react to changes of the catalogs",
        ));
    }
    if relation.schema == own_schema {
        return Err(refused(oid, "belongs to event_source")?);
    }
    if is_child || (!is_alone && !is_partitioned) {
        return Err(Error { kind: Kind::FeatureNotSupported, ..refused(oid, "uses inheritance")? }
            .detail("Its rows are partly those of other tables.")
            .hint("use a partitioned table, or end the inheritance: ALTER TABLE ... NO INHERIT"));
    }
    check_kind(oid, relation)
}

/// What holds for the root as for every partition.
fn check_kind(oid: pg_sys::Oid, relation: Relation) -> Result<()> {
    match relation.kind {
        pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => {}
        pg_sys::RELKIND_VIEW | pg_sys::RELKIND_MATVIEW => {
            return Err(refused(oid, "is a view")?.hint("capture the tables that it reads"));
        }
        pg_sys::RELKIND_FOREIGN_TABLE => {
            return Err(refused(oid, "is a foreign table")?
                .hint("install event_source where the table is, and capture it there"));
        }
        _ => return Err(refused(oid, "is not a table")?),
    }
    match relation.persistence {
        pg_sys::RELPERSISTENCE_PERMANENT => {}
        pg_sys::RELPERSISTENCE_TEMP => {
            return Err(refused(oid, "is a temporary table")?
                .detail("Only one session sees its rows.")
                .hint("use an ordinary table"));
        }
        _ => {
            return Err(refused(oid, "is an unlogged table")?
                .detail("A crash would take its rows back, after their events were delivered.")
                .hint("make it an ordinary table: ALTER TABLE ... SET LOGGED"));
        }
    }
    let is_table = relation.kind == pg_sys::RELKIND_RELATION;
    if is_table && relation.access_method != pg_sys::HEAP_TABLE_AM_OID {
        return Err(Error {
            kind: Kind::FeatureNotSupported,
            ..refused(oid, "does not use the access method heap")?
        }
        .hint("change it: ALTER TABLE ... SET ACCESS METHOD heap"));
    }
    Ok(())
}

fn refused(oid: pg_sys::Oid, why: &str) -> Result<Error> {
    let message = format!("cannot capture {}: it {why}", qualified_name(oid)?);
    Ok(Error::new(Kind::WrongObjectType, message))
}
