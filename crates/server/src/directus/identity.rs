//! As whom a connection acts, and until when.
//!
//! Whether a credential is good only the worker says; a JWT that it took is read here for its end, so that
//! the client is asked for a new one in time.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_source_model::event::{Reason, Refusal};
use event_source_model::token::PREFIX;
use serde_json::Value;
use tokio::time::Instant;

use crate::budget::Peer;
use crate::clock;
use crate::hub::Hub;

/// What a connection may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Identity {
    /// A secret or a JWT; `None` for whoever has none.
    pub secret: Option<String>,
    pub expires: Option<Instant>,
}

/// Why nobody was found.
#[derive(Debug)]
pub(super) enum Unknown {
    /// The credential is not good.
    Refused,
    /// It could not be asked.
    Unavailable,
}

impl Identity {
    /// Of a credential that the worker takes, or of none where that is allowed.
    pub(super) async fn of(
        hub: &Arc<Hub>,
        peer: &Peer,
        secret: Option<String>,
    ) -> Result<Self, Unknown> {
        // What may be followed by a token is not what may be asked.
        if secret.as_deref().is_some_and(|secret| secret.starts_with(PREFIX))
            || (secret.is_none() && hub.config().require_secret)
        {
            return Err(Unknown::Refused);
        }
        match hub.vouch(peer, secret.clone()).await {
            Ok(()) => {}
            Err(Refusal { reason, .. }) if is_passing(reason) => return Err(Unknown::Unavailable),
            Err(_) => return Err(Unknown::Refused),
        }
        let expires = secret.as_deref().and_then(end).map(instant);
        Ok(Self { secret, expires })
    }
}

fn is_passing(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::LimitExceeded | Reason::Contended | Reason::Unavailable | Reason::Internal
    )
}

/// The end of a JWT, in seconds since 1970.
fn end(secret: &str) -> Option<f64> {
    let mut parts = secret.split('.');
    let (_, Some(claims), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.get("exp")?.as_f64()
}

fn instant(seconds: f64) -> Instant {
    let left = seconds - clock::now() as f64 / 1e6;
    let left = Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::ZERO);
    // Further away than anybody waits.
    Instant::now() + left.min(Duration::from_secs(365 * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_when_it_ends_and_a_secret_does_not() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"role":"reader","exp":1700000000}"#);
        assert_eq!(end(&format!("e30.{claims}.c2ln")), Some(1_700_000_000.0));
        assert_eq!(end("ess_abc"), None);
        assert_eq!(end("a.b"), None);
        assert_eq!(end("e30.e30.c2ln"), None);
    }
}
