//! A key, and the JWTs that it was found to have signed: what is asked again costs a hash.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::{Invalid, Key, MAX_LENGTH, Verified};

/// As many are kept. Those that were forgotten are verified again.
const MOST: usize = 4096;

/// Verifies JWTs, and remembers the good ones by their hash. A bad one is verified each time: there are more of them
/// than could be kept.
#[derive(Debug)]
pub struct Verifier {
    key: Arc<Key>,
    good: HashMap<[u8; 32], Verified>,
}

impl Verifier {
    pub fn new(key: Key) -> Self {
        Self { key: Arc::new(key), good: HashMap::new() }
    }

    pub fn key(&self) -> Arc<Key> {
        Arc::clone(&self.key)
    }

    /// A JWT that was verified before, if it is still good. `now` is in microseconds since 1970.
    pub fn known(&self, jwt: &str, now: i64) -> Option<Verified> {
        let known = self.good.get(&hash(jwt))?;
        // It was found to be past its `nbf`, and that it still is.
        (known.expires > now).then(|| known.clone())
    }

    /// As [`Key::verify`].
    ///
    /// # Errors
    /// As there.
    pub fn verify(&mut self, jwt: &str, now: i64) -> Result<Verified, Invalid> {
        if jwt.len() > MAX_LENGTH {
            return Err(Invalid);
        }
        if let Some(known) = self.known(jwt, now) {
            return Ok(known);
        }
        let verified = self.key.verify(jwt, now)?;
        self.learn(jwt, &verified);
        Ok(verified)
    }

    /// A JWT was found to be good; by another key than this it does not count.
    pub fn learn(&mut self, jwt: &str, verified: &Verified) {
        if verified.fingerprint != self.key.fingerprint() {
            return;
        }
        if self.good.len() >= MOST {
            self.good.clear();
        }
        self.good.insert(hash(jwt), verified.clone());
    }
}

fn hash(jwt: &str) -> [u8; 32] {
    Sha256::digest(jwt).into()
}
