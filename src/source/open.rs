//! Opening a source: is the token good, and may it be used now?
//!
//! A token outlives the history that it was minted in: its definition is good after a failover and after
//! the restore of a dump. Where to read from is another question, see `order::history`.
//!
//! Runs in backends and in the worker. Writes nothing and works on a standby.

use event_source_model::source::Source;
use event_source_model::token;
use pgrx::pg_sys;

use super::collection::Collection;
use super::credential::{Credential, revoked};
use super::private::{self, AsOf, Lookup};
use super::{elsewhere, keys, names, privileges};
use crate::error::{Error, Kind, Result};
use crate::order;

/// The source of a token that may be used now, also by the role of the credential where there is one, and the
/// id of the key that signed it. It expires with the first of the two.
///
/// # Errors
/// The token or the credential is not good (any more), its collection is gone, or a role may not see it.
pub(crate) fn open(token: &str, credential: Option<&Credential>) -> Result<(Source, u32)> {
    let acting = credential.map(Credential::acting).transpose()?;
    let mut source = allowed(token, acting.map(|acting| acting.role))?;
    let expires = acting.and_then(|acting| acting.expires);
    source.expires = source.expires.into_iter().chain(expires).min();
    let key = token::key_id(token).expect("the token was read");
    Ok((source, key))
}

/// As [`open`], for somebody who was found to be that role already.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_as(token: &str, role: pg_sys::Oid) -> Result<Source> {
    allowed(token, Some(role))
}

/// As [`open`], for a call in SQL: the caller must be allowed too.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_in_sql(token: &str) -> Result<Source> {
    // SAFETY: reads the session's state.
    allowed(token, Some(unsafe { pg_sys::GetUserId() }))
}

fn allowed(token: &str, also: Option<pg_sys::Oid>) -> Result<Source> {
    let mut source = keys::verify(token)?;
    elsewhere::adopt(&mut source)?;
    if is_revoked(source.id)? {
        return Err(revoked());
    }
    if source.expires.is_some_and(|end| end <= order::now()) {
        return Err(Error::new(Kind::Unauthorized, "the event source has expired")
            .hint("get a new token from event_source(...)"));
    }
    let table = Collection::of(&source.definition)?.relation;
    let minted_by = names::role(&source.definition.role)?;
    privileges::require_own(minted_by, &source.definition, table)?;
    if let Some(also) = also.filter(|&role| role != minted_by) {
        privileges::require(also, &source.definition, table)?;
    }
    Ok(source)
}

/// Whether somebody revoked the token of that id.
pub(super) fn is_revoked(id: u64) -> Result<bool> {
    let lookup = Lookup {
        index: c"revocation_pkey",
        column: 1,
        equal: pg_sys::F_INT8EQ,
        value: pg_sys::Datum::from(id as i64),
    };
    let found = private::rows(c"revocation", Some(lookup), AsOf::Now, |row| row.get::<i64>(1))?;
    Ok(!found.is_empty())
}

/// Revokes a token, by itself or by its id.
pub(super) fn revoke(token_or_id: &str) -> Result<()> {
    let id = match token_or_id.parse::<i64>() {
        Ok(id) => id,
        Err(_) => keys::verify(token_or_id)?.id as i64,
    };
    private::write(
        c"revocation",
        "insert into event_source.revocation (token_id) values ($1) on conflict do nothing",
        &[id.into()],
    )?;
    Ok(())
}
