//! JWTs as secrets: the key that signs them, and what one says.
//!
//! It guarantees that the key alone chooses the algorithm, whatever a JWT says of itself; that one without
//! an end is none; and that neither key nor JWT can be seen in a `Debug` line. Runs in the worker, and before that in the
//! server, which strangers reach; does no I/O and reads no clock.
#![forbid(unsafe_code)]

mod cache;
mod key;
#[cfg(test)]
mod tests;

pub use cache::Verifier;
pub use key::{Key, KeyError};

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

/// How much earlier than `nbf` a JWT is taken, in microseconds: the clock of whoever made it may be ahead.
/// There is no leeway at the end.
const EARLY: i64 = 5_000_000;

/// A JWT was not accepted; nobody is told why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JWT")]
pub struct Invalid;

/// What a good JWT says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verified {
    /// The name of the role that it acts as.
    pub role: String,
    /// Microseconds since 1970.
    pub expires: i64,
    /// Of the key that signed it.
    pub fingerprint: [u8; 32],
}

/// Others are nobody's business here.
#[derive(Deserialize)]
struct Claims {
    role: String,
    exp: f64,
    nbf: Option<f64>,
}

impl Key {
    /// Reads a JWT that this key signed. `now` is in microseconds since 1970.
    ///
    /// # Errors
    /// For anything else, and before and after its time.
    pub fn verify(&self, jwt: &str, now: i64) -> Result<Verified, Invalid> {
        let mut validation = Validation::new(self.algorithm);
        // Times are looked at below. Whom it is meant for nobody has said; whoever has a key for several
        // audiences gives each its own role.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let header = decode_header(jwt).map_err(|_| Invalid)?;
        if header.crit.is_some() {
            return Err(Invalid);
        }
        let read = decode::<Claims>(jwt, &self.decoding, &validation).map_err(|_| Invalid)?;
        let expires = read.claims.at(now)?;
        Ok(Verified { role: read.claims.role, expires, fingerprint: self.fingerprint })
    }
}

/// Longer than any JWT that names a role.
pub const MAX_LENGTH: usize = 8 * 1024;

/// Whether a text may be a JWT that is good now, whoever signed it: all that can be said without the key.
///
/// # Errors
/// For what is none, and before and after its time.
pub fn look(jwt: &str, now: i64) -> Result<(), Invalid> {
    if jwt.len() > MAX_LENGTH {
        return Err(Invalid);
    }
    decode_header(jwt).ok().filter(|header| header.crit.is_none()).ok_or(Invalid)?;
    let read = insecure_decode::<Claims>(jwt).map_err(|_| Invalid)?;
    read.claims.at(now).map(drop)
}

impl Claims {
    /// When it ends, in microseconds since 1970.
    fn at(&self, now: i64) -> Result<i64, Invalid> {
        let expires = micros(self.exp);
        let early = self.nbf.is_some_and(|nbf| micros(nbf).saturating_sub(EARLY) > now);
        if expires <= now || early { Err(Invalid) } else { Ok(expires) }
    }
}

/// Seconds since 1970, with a fraction if need be. Too far away is as far as there is.
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}
