//! Tokens and the keys that sign them.
//!
//! Runs in backends and in the worker. Keys are read each time (a table of one page), so that a
//! rotation in another session is noticed by the next token.

use event_source_model::source::Source;
use event_source_model::token::{self, SigningKey};
use pgrx::pg_sys;

use super::private::{self, AsOf, Lookup, Row};
use crate::error::{Error, Kind, Result};

/// Signs with the newest key.
pub(super) fn sign(source: &Source) -> Result<String> {
    let keys = private::rows(c"signing_key", None, AsOf::Now, read)?;
    let (newest, _) = keys.into_iter().max_by_key(|&(_, made)| made).ok_or_else(|| {
        Error::new(Kind::Corrupted, "there is no key to sign event sources with")
            .hint("an administrator can run SELECT event_source.rotate_key()")
    })?;
    token::sign(source, &newest).map_err(Error::from)
}

/// Reads a token whose signature is right.
pub(super) fn verify(text: &str) -> Result<Source> {
    token::verify(text, find)
}

/// Checks that a key, by its id, still is one: whoever takes a key away ends what it signed.
///
/// # Errors
/// [`Kind::InvalidToken`] when it is not.
pub(super) fn require(id: u32) -> Result<()> {
    find(id)?.map(drop).ok_or_else(|| token::TokenError::Invalid.into())
}

fn find(id: u32) -> Result<Option<SigningKey>> {
    let Ok(id) = i32::try_from(id) else { return Ok(None) };
    let lookup = Lookup {
        index: c"signing_key_pkey",
        column: 1,
        equal: pg_sys::F_INT4EQ,
        value: pg_sys::Datum::from(id),
    };
    let found = private::rows(c"signing_key", Some(lookup), AsOf::Now, read)?;
    Ok(found.into_iter().next().map(|(key, _)| key))
}

/// Makes a new key, which signs from now on; the older ones still verify.
pub(super) fn rotate() -> Result<()> {
    let key = random::<32>()?;
    private::write(
        c"signing_key",
        // The newest also where the clock was set back, or is behind that of the server before.
        "insert into event_source.signing_key (key, created_at)
         select $1, greatest(clock_timestamp(), max(created_at) + interval '1 microsecond')
         from event_source.signing_key",
        &[key.as_slice().into()],
    )?;
    Ok(())
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: writes N bytes.
    if unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), N) } {
        Ok(bytes)
    } else {
        Err(Error::new(Kind::Corrupted, "the system gave no random bytes"))
    }
}

/// A key, and when it was made.
fn read(row: &Row) -> Option<(SigningKey, i64)> {
    let key = SigningKey { id: row.get::<i32>(1)? as u32, bytes: row.get::<Vec<u8>>(2)? };
    Some((key, row.get::<i64>(3)?))
}
