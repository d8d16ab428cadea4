//! Whoever asks: by a secret, by a JWT, or by nothing where that is allowed.
//!
//! It guarantees that none of them ever acts as a superuser or as a role that bypasses row security, and
//! that what is kept while streams last is worth nothing to whoever finds it. The text of a refusal never
//! says what was wrong. Runs in the worker; reads only.

use std::cell::RefCell;
use std::fmt;

use event_source_model::source::Definition;
use pgrx::pg_sys;

use super::collection::Collection;
use super::open::is_revoked;
use super::privileges::bypasses;
use super::{jwt, keys, names, privileges, secrets};
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::order;
use crate::settings;

/// A credential that was good once, without what makes it one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Credential {
    /// The hash of a secret.
    Secret([u8; 32]),
    Jwt(jwt::Verified),
}

/// The role that a credential acts as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acting {
    pub(crate) role: pg_sys::Oid,
    /// Microseconds since 1970; `None` for never.
    pub(crate) expires: Option<i64>,
}

impl Credential {
    /// Reads a credential: two dots are in every JWT and in no secret.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] for a JWT that the key did not sign or whose time is over. Whether a
    /// secret is known, and what a role may, is for [`Self::acting`] to say.
    pub(crate) fn read(text: &str) -> Result<Self> {
        if text.matches('.').count() == 2 {
            jwt::verify(text, order::now()).map(Self::Jwt)
        } else {
            Ok(Self::Secret(secrets::hash(text)))
        }
    }

    /// Whom it acts as, now.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] for a credential that is unknown, revoked or expired, and for one whose
    /// role is gone or is one that nobody may take by a credential; [`Kind::Forbidden`] when the role
    /// may not connect to the database, where a session could not either.
    pub(crate) fn acting(&self) -> Result<Acting> {
        let acting = match self {
            Self::Secret(hash) => secrets::acting(hash),
            Self::Jwt(verified) => jwt::acting(verified),
        }?;
        if !compat::may_connect(acting.role) {
            let message = "the role of the credential may not use this database";
            return Err(
                Error::new(Kind::Forbidden, message).hint("grant it CONNECT on the database")
            );
        }
        Ok(acting)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Jwt(_) => "Jwt",
        })
    }
}

/// Whether a stream may go on by the token of that id, signed with that key, and the credential beside it. That the token's own
/// role may see the source is another question, see `privileges::check`.
///
/// # Errors
/// What [`super::open()`] would answer by now.
pub(crate) fn check_still(
    (token, key): (u64, u32),
    credential: Option<&Credential>,
    definition: &Definition,
) -> Result<()> {
    keys::require(key)?;
    if is_revoked(token)? {
        return Err(revoked());
    }
    let Some(credential) = credential else { return Ok(()) };
    let acting = credential.acting()?;
    if acting.role == names::role(&definition.role)? {
        return Ok(());
    }
    privileges::require(acting.role, definition, Collection::of(definition)?.relation)
}

/// The role of those who give no credential where none is needed.
///
/// # Errors
/// [`Kind::Unauthorized`] when there is none, or it is one that nobody may be without being asked.
pub(crate) fn anonymous_role() -> Result<pg_sys::Oid> {
    if settings::require_secret() {
        return Err(Error::new(Kind::Unauthorized, "a secret is required")
            .hint("give a secret from event_source.create_secret as Bearer"));
    }
    let name = settings::anonymous_role();
    if name.is_empty() {
        return Err(Error::new(Kind::Unauthorized, "no credential was given")
            .hint("give a secret from event_source.create_secret as Bearer"));
    }
    let role = names::role_named(&name).filter(|&role| !bypasses(role));
    role.ok_or_else(|| {
        complain(&name);
        Error::new(Kind::Unauthorized, "no credential was given")
    })
}

/// Once for each name: strangers must not be able to fill the log.
fn complain(name: &str) {
    thread_local! {
        static ABOUT: RefCell<String> = const { RefCell::new(String::new()) };
    }
    if ABOUT.replace(name.to_owned()) != name {
        pgrx::log!(
            "event_source.anonymous_role is not used: \"{name}\" does not exist, is a superuser or has BYPASSRLS"
        );
    }
}

/// What every credential that is not good is answered with.
pub(super) fn invalid() -> Error {
    Error::new(Kind::Unauthorized, "invalid secret")
}

pub(super) fn revoked() -> Error {
    Error::new(Kind::InvalidToken, "the event source was revoked")
}
