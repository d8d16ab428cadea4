//! Secrets: credentials that act as a role. Only their hash is stored.
//!
//! Made and revoked in backends, looked up in the worker.

use std::ffi::CStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_source_model::discreet::SECRET_PREFIX as PREFIX;
use event_source_model::time::EPOCH_MICROS;
use pgrx::datum::{DatumWithOid, Interval, TimestampWithTimeZone};
use pgrx::pg_sys;
use pgrx::prelude::*;
use sha2::{Digest as _, Sha256};

use super::credential::{Acting, invalid};
use super::private::{self, AsOf, Lookup};
use super::privileges::bypasses;
use super::{keys, lifetime, names};
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::order;

/// Makes a secret for a role, and shows it this one time.
///
/// # Errors
/// The caller could not become the role, or the role bypasses what a secret is to be held to.
pub(super) fn create(
    role: &CStr,
    lifetime: Option<Interval>,
    label: Option<&str>,
) -> Result<String> {
    // SAFETY: looks at the catalogs' caches.
    let (oid, caller) = unsafe { (pg_sys::get_role_oid(role.as_ptr(), true), pg_sys::GetUserId()) };
    let role = role.to_string_lossy();
    if oid == pg_sys::InvalidOid {
        return Err(Error::new(Kind::UndefinedObject, format!("role \"{role}\" does not exist")));
    }
    if !compat::may_set_role(caller, oid) {
        return Err(Error::new(
            Kind::InsufficientPrivilege,
            format!("must be a member of role \"{role}\" to create a secret for it"),
        ));
    }
    if bypasses(oid) {
        return Err(Error::new(
            Kind::InsufficientPrivilege,
            format!("role \"{role}\" must not have a secret"),
        )
        .detail("it is a superuser or has BYPASSRLS")
        .hint("create a role with the rights that clients need, and a secret for that"));
    }
    let expires = lifetime.map(lifetime::end).transpose()?.flatten();
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(keys::random::<32>()?));
    let hash = hash(&secret);
    // SAFETY: the OIDs are those of the values' types.
    let values = unsafe {
        [
            hash.as_slice().into(),
            DatumWithOid::new(oid, pg_sys::OIDOID),
            label.into(),
            DatumWithOid::new(expires.map(timestamp).transpose()?, pg_sys::TIMESTAMPTZOID),
        ]
    };
    private::write(
        c"secret",
        "insert into event_source.secret (hash, role, label, expires_at) values ($1, $2, $3, $4)",
        &values,
    )?;
    Ok(secret)
}

/// Revokes a secret by the id that the view shows.
pub(super) fn revoke(id: i64) -> Result<()> {
    let gone = private::write(
        c"secret",
        "delete from event_source.secret where id operator(pg_catalog.=) $1 returning id",
        &[id.into()],
    )?;
    if gone == 0 {
        return Err(Error::new(Kind::UndefinedObject, format!("secret {id} does not exist")));
    }
    Ok(())
}

/// Whom the secret of that hash acts as, now.
///
/// # Errors
/// [`Kind::Unauthorized`] for a secret that is unknown, revoked or expired, and for one whose role
/// is gone or has become one that must not have secrets. The text never says which.
pub(super) fn acting(hash: &[u8; 32]) -> Result<Acting> {
    let value = hash.as_slice().into_datum().expect("bytes are never null");
    let lookup = Lookup { index: c"secret_hash_key", column: 2, equal: pg_sys::F_BYTEAEQ, value };
    let found = private::rows(c"secret", Some(lookup), AsOf::Now, |row| {
        let expires = row.get::<i64>(6).map(|end| end.saturating_add(EPOCH_MICROS));
        Some(Acting { role: row.get::<pg_sys::Oid>(3)?, expires })
    })?;
    let alive = |end: Option<i64>| end.is_none_or(|end| end > order::now());
    found
        .into_iter()
        .find(|a| alive(a.expires) && names::role_name(a.role).is_some() && !bypasses(a.role))
        .ok_or_else(invalid)
}

pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn timestamp(unix_micros: i64) -> Result<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(unix_micros - EPOCH_MICROS)
        .map_err(|_| Error::new(Kind::InvalidParameter, "expires_in is out of range"))
}
