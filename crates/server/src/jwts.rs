//! JWTs, judged before the worker is asked: strangers' bytes are parsed here.
//!
//! It guarantees that the worker sees no JWT that is malformed or over, nor one that a public key did not sign. The worker
//! judges those that it sees again, since it does not trust this process; by a shared secret it alone can. Callable
//! from any thread.

use std::sync::{Arc, Mutex, MutexGuard};

use event_source_door::message::JwtKey;
use event_source_jwt::{Invalid, Key, Verifier, look};

use crate::{clock, faults};

/// The judge, by the key that the worker has read.
#[derive(Debug, Default)]
pub(crate) struct Jwts(Mutex<Judge>);

#[derive(Debug, Default)]
enum Judge {
    /// Only the worker can say, of what looks like one.
    #[default]
    Worker,
    /// None is good.
    Nobody,
    Key(Verifier),
}

impl Jwts {
    pub(crate) fn of(key: &JwtKey) -> Self {
        let jwts = Self::default();
        jwts.set(key);
        jwts
    }

    /// The worker has read a key, or another one.
    pub(crate) fn set(&self, key: &JwtKey) {
        *self.lock() = match key {
            JwtKey::Unread | JwtKey::Secret => Judge::Worker,
            JwtKey::None => Judge::Nobody,
            // What this cannot read is the worker's to say.
            JwtKey::Public(file) => {
                Key::from_file(file).map_or(Judge::Worker, |key| Judge::Key(Verifier::new(key)))
            }
        };
    }

    /// Whether the worker is to be asked.
    ///
    /// # Errors
    /// It is not good.
    pub(crate) fn check(&self, jwt: &str) -> Result<(), Invalid> {
        let now = clock::now();
        look(jwt, now)?;
        let key: Arc<Key> = match &*self.lock() {
            Judge::Worker => return Ok(()),
            Judge::Nobody => return Err(Invalid),
            Judge::Key(verifier) if verifier.known(jwt, now).is_some() => return Ok(()),
            Judge::Key(verifier) => verifier.key(),
        };
        // Not under the lock: it takes a tenth of a millisecond.
        let verified = key.verify(jwt, now)?;
        if let Judge::Key(verifier) = &mut *self.lock() {
            verifier.learn(jwt, &verified);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Judge> {
        faults::lock(&self.0)
    }
}
