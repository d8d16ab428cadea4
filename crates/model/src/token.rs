//! The signed text form of a source: `est_`, then base64url of key id, source and signature.
//!
//! Signed, not encrypted: whoever holds a token can read the terms and the filter in it, and
//! cannot change them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::source::Source;

/// What every token begins with.
pub const PREFIX: &str = "est_";
/// The longest token that is minted or read, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// 2: it says of which cluster it is.
const VERSION: u8 = 2;
/// Half of SHA-256: forging needs 2^128 tries.
const SIGNATURE: usize = 16;
/// Version, key id.
const HEAD: usize = 1 + 4;

/// A key of the database that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    pub id: u32,
    pub bytes: Vec<u8>,
}

/// Never shows the key: a `Debug` line may end in a log.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a token was not accepted, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("invalid event source")]
    Invalid,
    #[error("the event source is too long")]
    TooLong,
}

/// Signs a source.
///
/// # Errors
/// [`TokenError::TooLong`] when the text would be longer than [`MAX_LENGTH`].
pub fn sign(source: &Source, key: &SigningKey) -> Result<String, TokenError> {
    let mut bytes = vec![VERSION];
    bytes.extend(key.id.to_be_bytes());
    bytes.extend(postcard::to_stdvec(source).expect("a source is plain data and encodes"));
    let signature = mac(key, &bytes).finalize().into_bytes();
    bytes.extend(&signature[..SIGNATURE]);
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    if text.len() > MAX_LENGTH { Err(TokenError::TooLong) } else { Ok(text) }
}

/// Checks the signature with the key that `key_of` finds for the token's key id, and reads it.
///
/// # Errors
/// [`TokenError::Invalid`] for anything that [`sign`] did not make with that key. The comparison
/// takes the same time wherever the first difference is.
pub fn verify<E: From<TokenError>>(
    text: &str,
    key_of: impl FnOnce(u32) -> Result<Option<SigningKey>, E>,
) -> Result<Source, E> {
    let (key_id, bytes) = parts(text)?;
    let (signed, signature) = bytes.split_at(bytes.len() - SIGNATURE);
    let key = key_of(key_id)?.ok_or(TokenError::Invalid)?;
    mac(&key, signed).verify_truncated_left(signature).map_err(|_| TokenError::Invalid)?;
    Ok(postcard::from_bytes(&signed[HEAD..]).map_err(|_| TokenError::Invalid)?)
}

/// Whether a text has the form of a token. Whether it is one only whoever has the key can say.
pub fn has_form(text: &str) -> bool {
    parts(text).is_ok()
}

/// The id of the key that a token says it was signed with; `None` for what is no token.
pub fn key_id(text: &str) -> Option<u32> {
    parts(text).ok().map(|(id, _)| id)
}

fn parts(text: &str) -> Result<(u32, Vec<u8>), TokenError> {
    if text.len() > MAX_LENGTH {
        return Err(TokenError::Invalid);
    }
    let body = text.strip_prefix(PREFIX).ok_or(TokenError::Invalid)?;
    let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Invalid)?;
    if bytes.len() < HEAD + SIGNATURE || bytes[0] != VERSION {
        return Err(TokenError::Invalid);
    }
    let id = u32::from_be_bytes(bytes[1..HEAD].try_into().expect("four bytes"));
    Ok((id, bytes))
}

fn mac(key: &SigningKey, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(&key.bytes).expect("HMAC takes keys of any length");
    mac.update(bytes);
    mac
}
