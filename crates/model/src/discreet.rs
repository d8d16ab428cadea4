//! Taking credentials out of a text that others will read: what the log of a server says.
//!
//! A credential is known by its prefix and the random text behind it. It never grows a text, so that it can work
//! where memory must not be asked for.

use crate::token;

/// What every secret begins with.
pub const SECRET_PREFIX: &str = "ess_";
/// Behind its prefix a credential has at least this many characters; what has fewer is a name, or a piece that
/// is of no use.
const SHORTEST: usize = 40;
/// What is left of one, behind its prefix.
const LEFT: &[u8] = b"...";

/// Whether a token or a secret is in the text.
pub fn holds_credential(text: &[u8]) -> bool {
    next(text, 0).is_some()
}

/// Puts dots in the place of tokens and secrets; how long the text is now.
pub fn hide_credentials(text: &mut [u8]) -> usize {
    let (mut from, mut to) = (0, 0);
    while let Some((start, end)) = next(text, from) {
        let kept = start + token::PREFIX.len();
        text.copy_within(from..kept, to);
        to += kept - from;
        text[to..to + LEFT.len()].copy_from_slice(LEFT);
        to += LEFT.len();
        from = end;
    }
    text.copy_within(from.., to);
    to + text.len() - from
}

/// The next credential, from its prefix to its end.
fn next(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let prefixes = [token::PREFIX.as_bytes(), SECRET_PREFIX.as_bytes()];
    let mut at = from;
    loop {
        // Both have an underscore at their end, which is rare in a text.
        at += text.get(at..)?.iter().position(|&c| c == b'_')?;
        let behind = at + 1;
        let length = text[behind..].iter().take_while(|&&c| is_of_base64url(c)).count();
        let is_prefix = prefixes.iter().any(|prefix| text[from..behind].ends_with(prefix));
        if length >= SHORTEST && is_prefix {
            let start = behind - prefixes[0].len();
            // `test_...` is a name.
            if start == 0 || !is_of_base64url(text[start - 1]) {
                return Some((start, behind + length));
            }
        }
        at = behind;
    }
}

fn is_of_base64url(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'-' || c == b'_'
}
