//! `event_source.capture` and `event_source.release`.
//!
//! Here is who may and what can be captured; the catalog work is in `sql/capture.sql`, done with
//! the rights of the extension's owner. Runs in the backend of the table's owner.

use std::cell::Cell;

use pgrx::prelude::*;

use super::catalog::{Cached, own_table};
use super::tree::{Tree, check_whole, no_such_table, qualified_name};
use crate::compat;
use crate::error::{Error, Kind, Result, raised};
use crate::pg::role::ActingAs;
use crate::{settings, source};

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// While this lives, DDL is our own and the event trigger has nothing to look after.
#[derive(Debug)]
pub(super) struct AtWork(());

impl AtWork {
    /// `None` when somebody is at work already.
    pub(super) fn begin() -> Option<Self> {
        // Not `then_some`: it would make, and drop, one that ends the work of the other.
        (!AT_WORK.replace(true)).then(|| Self(()))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.set(false);
    }
}

/// The extension's owner, whose tables and functions these are.
pub(super) fn extension_owner() -> Result<pg_sys::Oid> {
    owner_of(own_table(c"capture"))
}

fn owner_of(table: pg_sys::Oid) -> Result<pg_sys::Oid> {
    use pg_sys::SysCacheIdentifier::RELOID;
    // SAFETY: the rows of that cache are those of pg_class.
    unsafe {
        let class = Cached::<pg_sys::FormData_pg_class>::find(RELOID, table, None)
            .ok_or_else(|| no_such_table(table))?;
        Ok((*class.row()).relowner)
    }
}

/// `event_source.capture(relation, name, plural)`.
#[pg_extern(sql = false)]
fn capture(relation: pg_sys::Oid, name: Option<&str>, plural: Option<&str>) {
    raised(begin(relation, name, plural));
}

/// `event_source.release(relation)`.
#[pg_extern(sql = false)]
fn release(relation: pg_sys::Oid) {
    raised(end(relation));
}

fn begin(relation: pg_sys::Oid, name: Option<&str>, plural: Option<&str>) -> Result<()> {
    crate::order::writable()?;
    check_owner(relation)?;
    let tree = Tree::lock(relation, pg_sys::ShareRowExclusiveLock);
    // It may have another owner by the time that we have the lock.
    check_owner(relation)?;
    tree.check()?;
    let changed = with_rights(|| {
        let sql = "select event_source.register($1::oid::regclass, $2, $3)";
        let arguments = [relation.into(), name.into(), plural.into()];
        Spi::connect_mut(|client| client.update(sql, None, &arguments)?.first().get_one())
    })?;
    if changed == Some(true) {
        check_count(relation)?;
    }
    mark(changed)
}

fn end(relation: pg_sys::Oid) -> Result<()> {
    crate::order::writable()?;
    check_owner(relation)?;
    check_whole(relation)?;
    // What DROP TRIGGER takes, at once: a lock that grows would deadlock with another's.
    Tree::lock(relation, pg_sys::AccessExclusiveLock);
    check_owner(relation)?;
    let changed = with_rights(|| {
        let sql = "select event_source.unregister($1::oid::regclass)";
        Spi::connect_mut(|client| client.update(sql, None, &[relation.into()])?.first().get_one())
    })?;
    mark(changed)
}

/// A capture or its end has its place in the order, so that tokens have something to start from.
fn mark(changed: Option<bool>) -> Result<()> {
    if changed == Some(true) { crate::log::heartbeat() } else { Ok(()) }
}

/// The new capture is among those that are counted, and nobody else makes one before this transaction ends.
fn check_count(relation: pg_sys::Oid) -> Result<()> {
    let owner = owner_of(relation)?;
    let captures = source::Collection::all()?;
    let theirs = captures.iter().filter(|c| owner_of(c.relation).is_ok_and(|o| o == owner)).count();
    let most = settings::max_captures_per_role();
    if theirs <= most {
        return Ok(());
    }
    Err(Error::new(
        Kind::LimitExceeded,
        format!(
            "the owner of table {} has {most} captured tables already",
            qualified_name(relation)?
        ),
    )
    .hint("release one with event_source.release, or raise event_source.max_captures_per_role"))
}

fn check_owner(relation: pg_sys::Oid) -> Result<()> {
    let name = qualified_name(relation)?;
    // SAFETY: reads the session's state.
    let user = unsafe { pg_sys::GetUserId() };
    if compat::owns_table(user, relation) {
        return Ok(());
    }
    Err(Error::new(Kind::InsufficientPrivilege, format!("must be owner of table {name}")))
}

/// Runs SQL of ours as the extension's owner.
///
/// # Errors
/// PostgreSQL's own errors are raised; only a result that is not what it should be comes back.
pub(super) fn with_rights<T>(body: impl FnOnce() -> spi::SpiResult<T>) -> Result<T> {
    let _at_work = AtWork::begin();
    let _owner = ActingAs::restricted(extension_owner()?);
    body().map_err(|error| Error::new(Kind::Corrupted, error.to_string()))
}
