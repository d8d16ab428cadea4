//! Whether somebody's rights may have changed since they were last looked at, as PostgreSQL's caches
//! hear of it.
//!
//! It guarantees: after [`hear`], an epoch that is as it was says that no transaction that committed
//! before the call took a right from anybody who reads a watched table, nor a token or a secret from
//! anybody. The callbacks run wherever a cache takes in messages, also in the middle of a lookup: they
//! only count. They must not look anything up.
//!
//! What nobody's rights depend on is not counted: temporary tables come and go by the hundred, and functions
//! that no filter calls.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use pgrx::pg_sys;
use pgrx::prelude::*;

thread_local! {
    // 0 is nobody's: see `Epoch::NEVER`.
    static NOW: Cell<Epoch> = const { Cell::new(Epoch { catalogs: 1, credentials: 1, code: 1 }) };
    static WATCHED: RefCell<Watched> = RefCell::default();
    static SUBSCRIBED: Cell<bool> = const { Cell::new(false) };
}

/// How often something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Roles, memberships, schemas, the watched tables.
    pub(super) catalogs: u64,
    /// Keys, revoked tokens, secrets, and the settings that say who may use what.
    pub(super) credentials: u64,
    /// The functions and types of the watched filters.
    pub(super) code: u64,
}

impl Epoch {
    /// Of what was not looked at yet.
    pub(super) const NEVER: Self = Self { catalogs: 0, credentials: 0, code: 0 };
}

/// The relations whose changes count.
#[derive(Debug, Default)]
struct Watched {
    tables: HashSet<pg_sys::Oid>,
    credentials: HashSet<pg_sys::Oid>,
    /// A cache, and a hash of what changes.
    code: HashSet<(i32, u32)>,
}

/// The epoch now.
pub(super) fn epoch() -> Epoch {
    NOW.get()
}

/// From here on changes of the table count; whether they did not before.
pub(super) fn watch_table(table: pg_sys::Oid) -> bool {
    WATCHED.with_borrow_mut(|watched| watched.tables.insert(table))
}

/// From here on changes of the tables of keys, tokens and secrets count; whether they did not before.
pub(super) fn watch_credentials(tables: [pg_sys::Oid; 3]) -> bool {
    WATCHED.with_borrow_mut(|watched| {
        let before = watched.credentials.len();
        watched.credentials.extend(tables);
        watched.credentials.len() > before
    })
}

/// From here on changes of functions and types count, by where the caches tell of them; whether some of them
/// did not before.
pub(super) fn watch_code(places: impl Iterator<Item = (i32, u32)>) -> bool {
    WATCHED.with_borrow_mut(|watched| {
        let before = watched.code.len();
        watched.code.extend(places);
        watched.code.len() > before
    })
}

/// The settings, or the file of the key, may be others now.
pub(super) fn settings_changed() {
    count([true, true, true]);
}

/// Takes in what other backends have committed. In a transaction.
pub(super) fn hear() {
    // SAFETY: in a transaction, on the process's only thread.
    unsafe { pg_sys::AcceptInvalidationMessages() }
}

/// Starts to count in this process; PostgreSQL knows no way to stop.
pub(super) fn subscribe() {
    use pg_sys::SysCacheIdentifier::{
        AUTHMEMMEMROLE, AUTHOID, DATABASEOID, NAMESPACEOID, PROCOID, TYPEOID,
    };
    if SUBSCRIBED.replace(true) {
        return;
    }
    // The owner of the database is a member of pg_database_owner.
    for cache in [AUTHOID, AUTHMEMMEMROLE, NAMESPACEOID, DATABASEOID] {
        // SAFETY: the callback is static and may be called at any time from here on.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(catalog_changed),
                pg_sys::Datum::null(),
            );
        }
    }
    for cache in [PROCOID, TYPEOID] {
        // SAFETY: as above.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(code_changed),
                pg_sys::Datum::null(),
            );
        }
    }
    // SAFETY: as above.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::null()) }
}

fn count([catalogs, credentials, code]: [bool; 3]) {
    let now = NOW.get();
    NOW.set(Epoch {
        catalogs: now.catalogs + u64::from(catalogs),
        credentials: now.credentials + u64::from(credentials),
        code: now.code + u64::from(code),
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn catalog_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    count([true, false, false]);
}

#[pg_guard]
unsafe extern "C-unwind" fn code_changed(_argument: pg_sys::Datum, cache: i32, hash: u32) {
    // No object in particular: messages were lost.
    let any = hash == 0;
    let watched = WATCHED.with_borrow(|watched| watched.code.contains(&(cache, hash)));
    count([false, false, any || watched]);
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    // No relation in particular: messages were lost.
    let any = relation == pg_sys::InvalidOid;
    let (table, credentials) = WATCHED.with_borrow(|watched| {
        (watched.tables.contains(&relation), watched.credentials.contains(&relation))
    });
    count([any || table, any || credentials, false]);
}

#[cfg(any(test, feature = "pg_test"))]
#[path = "../../pgrx-tests/rights.rs"]
mod tests;
