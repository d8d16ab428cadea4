//! JWTs: the file of the key, and the roles that one may take.
//!
//! The file is read when it is first needed and again after a reload; what is wrong with it is said once
//! in the log of the server, and no JWT is good until then. A stream that one opened ends when the key is
//! another. Runs in the worker, which judges what the server has let pass.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read as _};

use event_source_door::message::JwtKey;
pub(crate) use event_source_jwt::Verified;
use event_source_jwt::{Key, KeyError, Verifier};
use pgrx::pg_sys;

use super::credential::{Acting, invalid};
use super::names;
use super::privileges::bypasses;
use crate::compat;
use crate::error::Result;
use crate::settings;

/// No key is longer.
const LONGEST: u64 = 64 * 1024;

thread_local! {
    static READ: RefCell<Option<FileOfKey>> = const { RefCell::new(None) };
    /// Since [`is_read_anew`] was asked.
    static READ_ANEW: Cell<bool> = const { Cell::new(false) };
}

/// What was in the file when it was read; `None` for no key.
struct FileOfKey {
    name: String,
    key: Option<Verifier>,
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// The settings were read again: so is the file, when it is needed.
pub(crate) fn forget_key() {
    READ.set(None);
}

/// Reads a JWT. `now` is in microseconds since 1970.
///
/// # Errors
/// [`crate::error::Kind::Unauthorized`] for one that is not good, and for all of them without a key.
pub(super) fn verify(text: &str, now: i64) -> Result<Verified> {
    with_key(|key| key.and_then(|key| key.verify(text, now).ok())).ok_or_else(invalid)
}

/// What the server may know of the key: never a secret, by which it could sign.
pub(crate) fn for_server() -> JwtKey {
    if settings::jwt_key_file().is_empty() {
        return JwtKey::None;
    }
    READ.with_borrow(|read| match read {
        None => JwtKey::Unread,
        Some(FileOfKey { key: None, .. }) => JwtKey::None,
        Some(FileOfKey { key: Some(verifier), .. }) => {
            verifier.key().public().map_or(JwtKey::Secret, |file| JwtKey::Public(file.to_vec()))
        }
    })
}

/// Whether the file was read since this was asked before: the server is to know.
pub(crate) fn is_read_anew() -> bool {
    READ_ANEW.take()
}

/// Whom a JWT that was good acts as, now.
///
/// # Errors
/// [`crate::error::Kind::Unauthorized`] when the key is another one, and when
/// `event_source.jwt_parent_role` may not take the role.
pub(super) fn acting(verified: &Verified) -> Result<Acting> {
    let same_key =
        with_key(|key| key.is_some_and(|key| key.key().fingerprint() == verified.fingerprint));
    let role = names::role_named(&verified.role).filter(|&role| may_be_taken(role));
    let role = role.filter(|_| same_key).ok_or_else(invalid)?;
    Ok(Acting { role, expires: Some(verified.expires) })
}

/// Only what was granted to the parent role on purpose: never itself, nor what it has as a superuser.
fn may_be_taken(role: pg_sys::Oid) -> bool {
    let Some(parent) = names::role_named(&settings::jwt_parent_role()) else { return false };
    // SAFETY: looks at the catalogs' caches.
    let granted = unsafe { pg_sys::is_member_of_role_nosuper(parent, role) };
    role != parent && granted && compat::may_set_role(parent, role) && !bypasses(role)
}

fn with_key<T>(body: impl FnOnce(Option<&mut Verifier>) -> T) -> T {
    let name = settings::jwt_key_file();
    READ.with_borrow_mut(|read| {
        let read = match read {
            Some(read) if read.name == name => read,
            other => {
                READ_ANEW.set(true);
                other.insert(FileOfKey { key: key_in(&name).map(Verifier::new), name })
            }
        };
        body(read.key.as_mut())
    })
}

fn key_in(name: &str) -> Option<Key> {
    if name.is_empty() {
        return None;
    }
    match contents(name).and_then(|file| Ok(Key::from_file(&file)?)) {
        Ok(key) => Some(key),
        Err(error) => {
            pgrx::log!("event_source.jwt_key_file \"{name}\" is not used: {error}");
            None
        }
    }
}

fn contents(name: &str) -> std::result::Result<Vec<u8>, Unusable> {
    let mut file = Vec::new();
    File::open(name)?.take(LONGEST).read_to_end(&mut file)?;
    Ok(file)
}
