//! JWTs as a backend would sign them, and the key in the cluster's data folder.
//!
//! The cluster must be started with [`KEY_FILE`] as `event_source.jwt_key_file`; the worker reads the
//! file when it first sees a JWT, and again after a reload.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::Cluster;

/// Relative names are those of the data folder.
pub const KEY_FILE: &str = "jwt.key";
pub const SECRET: &str = "the-shared-secret-of-the-tests-is-long-enough";
pub const P256_PUBLIC: &str = include_str!("../../crates/jwt/src/test_keys/p256.pub");
const P256_PRIVATE: &[u8] = include_bytes!("../../crates/jwt/src/test_keys/p256.pem");

/// Puts a key where the cluster looks for it.
///
/// # Panics
/// When the file cannot be written.
pub fn put_key(cluster: &Cluster, key: &str) {
    fs::write(cluster.data().join(KEY_FILE), key).expect("the key can be written");
}

/// Seconds since 1970, some of them from now on.
///
/// # Panics
/// When the clock is set to before 1970.
#[must_use]
pub fn in_seconds(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
    now.as_secs() + seconds
}

/// Good for so many seconds.
#[must_use]
pub fn claims(role: &str, seconds: u64) -> Value {
    json!({ "role": role, "exp": in_seconds(seconds) })
}

/// HS256 by [`SECRET`].
#[must_use]
pub fn by_secret(claims: &Value) -> String {
    by(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), claims)
}

/// HS256 by another secret.
#[must_use]
pub fn by_text(secret: &str, claims: &Value) -> String {
    by(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()), claims)
}

/// ES256 by the private key of [`P256_PUBLIC`].
///
/// # Panics
/// Never: the key is a key.
#[must_use]
pub fn by_p256(claims: &Value) -> String {
    let key = EncodingKey::from_ec_pem(P256_PRIVATE).expect("a private key");
    by(Algorithm::ES256, &key, claims)
}

fn by(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).expect("claims can be signed")
}
