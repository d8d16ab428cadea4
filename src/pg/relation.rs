//! An open relation.

use std::ops::Deref;

use pgrx::pg_sys;

/// A relation that is closed when this is dropped.
#[derive(Debug)]
pub struct Relation {
    raw: pg_sys::Relation,
    /// What to unlock at close; `NoLock` keeps the lock to the end of the transaction.
    release: pg_sys::LOCKMODE,
}

impl Relation {
    /// Opens and locks; the lock goes with this handle.
    ///
    /// Raises PostgreSQL's own error when there is no such relation.
    pub fn open(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Self {
        // SAFETY: relation_open takes any OID and raises an ERROR for one that does not exist.
        let raw = unsafe { pg_sys::relation_open(oid, lock) };
        Self { raw, release: lock }
    }

    /// Opens and locks; the lock stays to the end of the transaction.
    pub fn open_kept(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Self {
        // Not by `..Self::open(oid, lock)`: what is left of that would be dropped, and closed.
        let mut relation = Self::open(oid, lock);
        relation.release = pg_sys::NoLock as pg_sys::LOCKMODE;
        relation
    }

    /// Opens without waiting: locked against DDL if that lock is free, and as it was last
    /// committed otherwise. `None` when the relation is gone.
    ///
    /// For readers of definitions, who must not queue behind a user's `ALTER TABLE`, and who are
    /// told of it by an invalidation once it commits.
    pub fn peek(oid: pg_sys::Oid) -> Option<Self> {
        let share = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // SAFETY: both take any OID; the relation cache answers null for one that does not exist.
        unsafe {
            let locked = pg_sys::ConditionalLockRelationOid(oid, share);
            let raw = pg_sys::RelationIdGetRelation(oid);
            if raw.is_null() {
                if locked {
                    pg_sys::UnlockRelationOid(oid, share);
                }
                return None;
            }
            let release = if locked { share } else { pg_sys::NoLock as pg_sys::LOCKMODE };
            Some(Self { raw, release })
        }
    }

    pub fn as_ptr(&self) -> pg_sys::Relation {
        self.raw
    }

    pub fn oid(&self) -> pg_sys::Oid {
        self.rd_id
    }

    /// The row type; valid while the relation is open.
    pub fn tuple_desc(&self) -> pg_sys::TupleDesc {
        self.rd_att
    }
}

impl Deref for Relation {
    type Target = pg_sys::RelationData;

    fn deref(&self) -> &Self::Target {
        // SAFETY: the relation is open, so the relcache keeps its entry where it is.
        unsafe { &*self.raw }
    }
}

impl Drop for Relation {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner of the aborted transaction closes it.
        if !std::thread::panicking() {
            // SAFETY: opened by this handle and closed only here.
            unsafe { pg_sys::relation_close(self.raw, self.release) }
        }
    }
}
