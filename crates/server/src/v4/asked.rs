//! What a request says beside its expression.

use std::time::Duration;

use axum::http::HeaderMap;
use event_source_model::event::{Reason, Refusal};
use event_source_model::token::PREFIX;
use event_source_wire::v4::error::Wrong;
use event_source_wire::v4::event::Fields;

use crate::{clock, credentials};

/// The newest transaction that the client has seen, in microseconds. The Python driver sends `None`, in so
/// many letters, before it has seen any.
const LAST_SEEN: &str = "x-last-seen-txn";
/// How long an answer may take, in milliseconds. An open stream has no end.
const TIME: &str = "x-query-timeout";
const DEFAULT_TIME: Duration = Duration::from_secs(60);
const DRIVER: &str = "x-fauna-driver";
/// Clocks differ; what is said to have been seen later than this was never seen here.
const FUTURE_MICROS: i64 = 10_000_000;

/// The fields that events are to have, in the query of the address.
///
/// # Errors
/// One for each name that is none.
pub(super) fn fields(query: Option<&str>) -> Result<Fields, Vec<Wrong>> {
    let query = query.unwrap_or_default().as_bytes();
    let given = form_urlencoded::parse(query).find(|(name, _)| name == "fields");
    let Some((_, names)) = given else { return Ok(Fields::DEFAULT) };
    if names.trim().is_empty() {
        return Ok(Fields::DEFAULT);
    }
    let mut fields = Fields::NONE;
    let mut wrong = Vec::new();
    for name in names.split(',').map(str::trim) {
        match name {
            "action" => fields.action = true,
            "document" => fields.document = true,
            "diff" => fields.diff = true,
            "prev" => fields.prev = true,
            "index" => fields.index = true,
            other => wrong.push(Wrong::url_parameter(format!(
                "Invalid url parameter fields. Invalid field name '{other}'."
            ))),
        }
    }
    if wrong.is_empty() { Ok(fields) } else { Err(wrong) }
}

/// What an answer must not be older than. `closed` is what was handed out last.
pub(super) fn last_seen(headers: &HeaderMap, closed: Option<i64>) -> Result<i64, Wrong> {
    let Some(text) = text(headers, LAST_SEEN) else { return Ok(0) };
    if text == "None" {
        return Ok(0);
    }
    let micros = text.parse::<i64>().ok().filter(|micros| *micros >= 0);
    let micros = micros.ok_or_else(|| Wrong::header(LAST_SEEN, text))?;
    let now = clock::now().max(closed.unwrap_or(0));
    if micros > now.saturating_add(FUTURE_MICROS) {
        return Err(Wrong::future(micros));
    }
    Ok(micros)
}

/// How long the answer may take.
pub(super) fn time(headers: &HeaderMap) -> Result<Duration, Wrong> {
    let Some(text) = text(headers, TIME) else { return Ok(DEFAULT_TIME) };
    match text.parse::<u64>() {
        Ok(millis @ 1..) => Ok(Duration::from_millis(millis).min(DEFAULT_TIME)),
        _ => Err(Wrong::header(TIME, text)),
    }
}

/// The secret; whether a client may do without, the worker says.
pub(super) fn secret(headers: &HeaderMap) -> Result<Option<String>, Wrong> {
    let secret = credentials::given(headers, None).map_err(|refusal| Wrong::refused(&refusal))?;
    // A token says what may be followed, not what may be asked.
    if secret.as_deref().is_some_and(|secret| secret.starts_with(PREFIX)) {
        let refusal = Refusal::new(Reason::Unauthorized, "an expression needs a secret");
        return Err(Wrong::refused(&refusal));
    }
    Ok(secret)
}

/// Whether the driver for Python asks.
pub(super) fn is_python(headers: &HeaderMap) -> bool {
    text(headers, DRIVER).is_some_and(|driver| driver.eq_ignore_ascii_case("python"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn fields_are_names_with_commas_and_two_of_them_by_default() {
        assert_eq!(fields(None), Ok(Fields::DEFAULT));
        assert_eq!(fields(Some("x=1&fields=")), Ok(Fields::DEFAULT));
        let all = Fields { action: true, document: true, diff: true, prev: true, index: true };
        assert_eq!(fields(Some("fields=action%2Cdocument, diff,prev%2Cindex")), Ok(all));
        let wrong = fields(Some("fields=x,action,y")).unwrap_err();
        assert_eq!(wrong.len(), 2);
        assert_eq!(wrong[0].description, "Invalid url parameter fields. Invalid field name 'x'.");
    }

    #[test]
    fn what_was_seen_is_a_time_that_may_have_been() {
        assert_eq!(last_seen(&HeaderMap::new(), None), Ok(0));
        assert_eq!(last_seen(&headers(LAST_SEEN, "None"), None), Ok(0));
        assert_eq!(last_seen(&headers(LAST_SEEN, "1643910577140000"), None), Ok(1643910577140000));
        let wrong = last_seen(&headers(LAST_SEEN, "soon"), None).unwrap_err();
        assert_eq!(
            wrong.description,
            "Invalid header 'x-last-seen-txn': Invalid timestamp 'soon'."
        );
        let far = (clock::now() + 60_000_000).to_string();
        let wrong = last_seen(&headers(LAST_SEEN, &far), None).unwrap_err();
        assert!(wrong.description.ends_with("it is too far in the future."), "{wrong:?}");
        // The database's own clock may be ahead.
        assert!(last_seen(&headers(LAST_SEEN, &far), far.parse().ok()).is_ok());
    }

    #[test]
    fn a_time_is_at_least_a_millisecond() {
        assert_eq!(time(&HeaderMap::new()), Ok(DEFAULT_TIME));
        assert_eq!(time(&headers(TIME, "5")), Ok(Duration::from_millis(5)));
        assert!(time(&headers(TIME, "0")).is_err() && time(&headers(TIME, "x")).is_err());
    }
}
