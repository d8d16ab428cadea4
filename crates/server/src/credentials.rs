//! Who asks: a token, a secret, or both, wherever the client put them.
//!
//! It guarantees that two different credentials are never silently reduced to one, and it keeps
//! every credential out of error texts. Whether one is good only the worker can say; it is not asked about what is none
//! by its form, nor about a JWT that the key did not sign.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use event_source_door::message::Access;
use event_source_model::event::{Reason, Refusal};
use event_source_model::token::{PREFIX, has_form};

use crate::hub::Hub;

/// What a secret is: a prefix, and random bytes behind it.
const SECRET: &str = "ess_";
const SECRET_BYTES: usize = 32;

/// The one credential of a request, besides the `token` parameter: of the headers that all protocols read,
/// and of what a protocol has found elsewhere.
pub(crate) fn given(
    headers: &HeaderMap,
    elsewhere: impl IntoIterator<Item = String>,
) -> Result<Option<String>, Refusal> {
    let mut given = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        let text = value.to_str().map_err(|_| unreadable())?;
        given.push(authorization(text)?);
    }
    for value in headers.get_all("x-access-token") {
        given.push(value.to_str().map_err(|_| unreadable())?.to_owned());
    }
    given.extend(elsewhere);
    given.dedup();
    match given.len() {
        0 | 1 => Ok(given.pop()),
        _ => Err(two_different()),
    }
}

/// Puts the `token` parameter and the credential together.
pub(crate) fn access(
    token: Option<String>,
    credential: Option<String>,
    require_secret: bool,
) -> Result<Access, Refusal> {
    let is_token = credential.as_deref().is_some_and(|c| c.starts_with(PREFIX));
    let (token, secret) = match (token, credential) {
        (Some(token), Some(credential)) if is_token => {
            if token != credential {
                return Err(two_different());
            }
            (token, None)
        }
        (Some(token), secret) => (token, secret),
        (None, Some(token)) if is_token => (token, None),
        (None, Some(_)) => {
            return Err(Refusal::new(Reason::InvalidRequest, "parameter \"token\" is missing")
                .hint("event_source() mints one"));
        }
        (None, None) => {
            return Err(Refusal::new(Reason::Unauthorized, "no credential was given")
                .hint("give the event source as parameter \"token\" or as Bearer"));
        }
    };
    if require_secret && secret.is_none() {
        return Err(Refusal::new(Reason::Unauthorized, "a secret is required beside the token")
            .hint("event_source.require_secret is on"));
    }
    Ok(Access { token, secret })
}

/// Looks at the credentials in the headers, before the body is read. What cannot be read is told by [`given`].
///
/// # Errors
/// One is not good.
pub(crate) fn look(hub: &Hub, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(text);
    let bearers = bearers.filter_map(|text| authorization(&text).ok());
    let others = headers.get_all("x-access-token").iter().filter_map(text);
    bearers.chain(others).try_for_each(|credential| {
        if credential.starts_with(PREFIX) { token(&credential) } else { secret(hub, &credential) }
    })
}

/// Looks at a token and the credential beside it.
///
/// # Errors
/// One is not good.
pub(crate) fn look_at(hub: &Hub, access: &Access) -> Result<(), Refusal> {
    token(&access.token)?;
    access.secret.iter().try_for_each(|text| secret(hub, text))
}

/// Looks at a secret or a JWT: two dots are in every JWT and in no secret.
///
/// # Errors
/// It is not good.
pub(crate) fn secret(hub: &Hub, text: &str) -> Result<(), Refusal> {
    let is_good = if text.matches('.').count() == 2 {
        hub.jwts().check(text).is_ok()
    } else {
        let random = text.strip_prefix(SECRET).map(|text| URL_SAFE_NO_PAD.decode(text));
        random.is_some_and(|bytes| bytes.is_ok_and(|bytes| bytes.len() == SECRET_BYTES))
    };
    // As the worker says it.
    if is_good { Ok(()) } else { Err(Refusal::new(Reason::Unauthorized, "invalid secret")) }
}

/// Looks at who asks a query.
///
/// # Errors
/// The credential is not good, or there must be one.
pub(crate) fn of_query(hub: &Hub, given: Option<&str>) -> Result<(), Refusal> {
    match given {
        Some(text) => secret(hub, text),
        None if hub.config().has_anonymous_role => Ok(()),
        // As the worker says it.
        None => Err(Refusal::new(Reason::Unauthorized, "no credential was given")
            .hint("give a secret from event_source.create_secret as Bearer")),
    }
}

fn token(text: &str) -> Result<(), Refusal> {
    if has_form(text) {
        return Ok(());
    }
    Err(Refusal::new(Reason::InvalidToken, "invalid event source")
        .hint("get a token from event_source(...) in this database"))
}

/// What stands behind `Bearer`, or the user behind `Basic`.
fn authorization(header: &str) -> Result<String, Refusal> {
    let (scheme, rest) = header.split_once(' ').ok_or_else(unreadable)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Ok(rest.to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let bytes = STANDARD.decode(rest).map_err(|_| unreadable())?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable())?;
        let user = text.split(':').next().unwrap_or_default();
        if !user.is_empty() {
            return Ok(user.to_owned());
        }
    }
    Err(unreadable())
}

fn unreadable() -> Refusal {
    Refusal::new(Reason::Unauthorized, "the credential cannot be read")
        .hint("give it as Bearer, or as the user of Basic")
}

fn two_different() -> Refusal {
    Refusal::new(Reason::InvalidRequest, "two different credentials were given")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn the_same_credential_twice_is_one_and_two_different_are_refused() {
        let same = headers(&[("authorization", "Bearer ess_a"), ("x-access-token", "ess_a")]);
        assert_eq!(given(&same, Some("ess_a".to_owned())).unwrap().as_deref(), Some("ess_a"));
        let refusal = given(&same, Some("ess_b".to_owned())).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidRequest);
        assert!(!refusal.message.contains("ess_"), "no credential in an error text");
    }

    #[test]
    fn the_user_of_basic_is_the_credential() {
        let basic = headers(&[("authorization", "Basic ZXNzX2E6")]);
        assert_eq!(given(&basic, None).unwrap().as_deref(), Some("ess_a"));
        let empty = headers(&[("authorization", "Basic OmE=")]);
        assert_eq!(given(&empty, None).unwrap_err().reason, Reason::Unauthorized);
    }

    #[test]
    fn a_bearer_may_be_the_token_itself_but_not_another_one() {
        let token = || Some("est_a".to_owned());
        let once = access(token(), token(), false).unwrap();
        assert_eq!((once.token.as_str(), once.secret), ("est_a", None));
        assert!(access(None, token(), false).is_ok());
        let other = access(token(), Some("est_b".to_owned()), false).unwrap_err();
        assert_eq!(other.reason, Reason::InvalidRequest);
    }

    #[test]
    fn a_required_secret_cannot_be_replaced_by_a_token() {
        let token = || Some("est_a".to_owned());
        let refusal = access(token(), token(), true).unwrap_err();
        assert_eq!(refusal.reason, Reason::Unauthorized);
        assert!(access(token(), Some("ess_a".to_owned()), true).is_ok());
    }
}
