//! The key, as a file holds it.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest as _, Sha256};

/// The shortest shared secret: as many bytes as HS256's hash has.
const SHORTEST_SECRET: usize = 32;
/// A public RSA key in DER: of 2,048 bits at least, as the standard has it, and 4,096 at most, which is
/// what can be verified.
const RSA: std::ops::RangeInclusive<usize> = 260..=540;
/// A point of a curve, whole: a byte and two coordinates.
const P256: usize = 65;
const P384: usize = 97;

/// What JWTs are verified by.
pub struct Key {
    pub(crate) decoding: DecodingKey,
    pub(crate) algorithm: Algorithm,
    pub(crate) fingerprint: [u8; 32],
    /// The file, unless it is a secret.
    public: Option<Vec<u8>>,
}

/// Why a file is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it is a private key: put the public one there, which `openssl pkey -pubout` shows")]
    Private,
    #[error(
        "it is a certificate: put its public key there, which `openssl x509 -pubkey -noout` shows"
    )]
    Certificate,
    #[error("an RSA key must have 2048 to 4096 bits")]
    RsaSize,
    #[error("it is no public key of RSA, P-256, P-384 or Ed25519 in PEM")]
    Unknown,
    #[error("a shared secret must have 32 bytes at least")]
    Short,
}

impl Key {
    /// The key in a file: a public key in PEM, which says itself what it is for, or a shared secret.
    ///
    /// # Errors
    /// For anything else. What looks like PEM is never taken for a shared secret.
    pub fn from_file(file: &[u8]) -> Result<Self, KeyError> {
        let is_public = has(file, b"-----BEGIN");
        let (decoding, algorithm) = if is_public { public(file)? } else { shared(file)? };
        let fingerprint = Sha256::digest(file).into();
        Ok(Self { decoding, algorithm, fingerprint, public: is_public.then(|| file.to_vec()) })
    }

    /// The file of a public key, which anybody may have; `None` of a shared secret.
    pub fn public(&self) -> Option<&[u8]> {
        self.public.as_deref()
    }

    /// Of the file; equal keys have equal ones.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn public(pem: &[u8]) -> Result<(DecodingKey, Algorithm), KeyError> {
    if has(pem, b"PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    if has(pem, b"-----BEGIN CERTIFICATE") {
        return Err(KeyError::Certificate);
    }
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        let fits = RSA.contains(&length(&key));
        return if fits { Ok((key, Algorithm::RS256)) } else { Err(KeyError::RsaSize) };
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        return match length(&key) {
            P256 => Ok((key, Algorithm::ES256)),
            P384 => Ok((key, Algorithm::ES384)),
            _ => Err(KeyError::Unknown),
        };
    }
    let key = DecodingKey::from_ed_pem(pem).map_err(|_| KeyError::Unknown)?;
    Ok((key, Algorithm::EdDSA))
}

fn shared(file: &[u8]) -> Result<(DecodingKey, Algorithm), KeyError> {
    // Editors end a file with one.
    let secret = file.strip_suffix(b"\n").unwrap_or(file);
    if secret.len() < SHORTEST_SECRET {
        return Err(KeyError::Short);
    }
    Ok((DecodingKey::from_secret(secret), Algorithm::HS256))
}

fn length(key: &DecodingKey) -> usize {
    key.try_get_as_bytes().map_or(0, <[u8]>::len)
}

fn has(file: &[u8], what: &[u8]) -> bool {
    file.windows(what.len()).any(|window| window == what)
}
