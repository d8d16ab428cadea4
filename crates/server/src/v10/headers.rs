//! What the headers of Fauna's drivers ask for. They send more than these; the rest changes nothing here.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::renderer::V10;
use crate::answer::http_error;

/// What is wrong with a header.
#[derive(Debug)]
pub(super) struct Wrong(String);

impl From<Wrong> for Response {
    fn from(wrong: Wrong) -> Self {
        http_error(StatusCode::BAD_REQUEST, "invalid_request", &wrong.0)
    }
}

/// How long a page or a query may take, in milliseconds.
const TIME: &str = "x-query-timeout-ms";
const DEFAULT_TIME: u64 = 120_000;
const LONGEST_TIME: u64 = 600_000;
/// Nothing here contends; the driver's number is only looked at.
const RETRIES: &str = "x-max-contention-retries";
/// The newest transaction that the client has seen, in microseconds: every answer is of a later moment.
const LAST_SEEN: &str = "x-last-txn-ts";
/// `single` for one event in each frame. No header of Fauna's: any client may send it, or a proxy for it.
const FRAMES: &str = "x-event-frames";
/// The driver's language.
const DRIVER: &str = "x-driver";

/// How long the answer to a feed or a query may take.
///
/// # Errors
/// For a header that Fauna's server would have refused.
pub(super) fn time(headers: &HeaderMap) -> Result<Duration, Wrong> {
    number(headers, RETRIES, 0, 7)?;
    number(headers, LAST_SEEN, 0, i64::MAX as u64)?;
    let given = number(headers, TIME, 1, LONGEST_TIME)?;
    Ok(Duration::from_millis(given.unwrap_or(DEFAULT_TIME)))
}

/// How the events of a stream leave.
pub(super) fn frames(headers: &HeaderMap) -> V10 {
    let is = |name: &str, wanted: &str| {
        let given = headers.get(name).and_then(|value| value.to_str().ok());
        given.is_some_and(|given| given.eq_ignore_ascii_case(wanted))
    };
    let asked = is(FRAMES, "single");
    // The driver for Java, which Scala uses too.
    let needed = is(DRIVER, "java") && !is(FRAMES, "merged");
    if asked || needed { V10::Single } else { V10::Merged }
}

fn number(headers: &HeaderMap, name: &str, least: u64, most: u64) -> Result<Option<u64>, Wrong> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => {
            let message =
                format!("Invalid header {name}: expected an integer from {least} to {most}.");
            Err(Wrong(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_time_is_from_a_millisecond_to_ten_minutes_and_two_minutes_by_default() {
        assert_eq!(time(&HeaderMap::new()).unwrap(), Duration::from_secs(120));
        assert_eq!(time(&headers(TIME, "1")).unwrap(), Duration::from_millis(1));
        assert_eq!(time(&headers(TIME, "600000")).unwrap(), Duration::from_secs(600));
        for bad in ["0", "600001", "-1", "1.5", "soon", ""] {
            let refused = Response::from(time(&headers(TIME, bad)).unwrap_err());
            assert_eq!(refused.status(), 400, "{bad:?}");
        }
    }

    #[test]
    fn contention_retries_are_from_none_to_seven() {
        assert!(time(&headers(RETRIES, "0")).is_ok() && time(&headers(RETRIES, "7")).is_ok());
        assert!(time(&headers(RETRIES, "8")).is_err());
    }

    #[test]
    fn one_event_a_frame_is_for_java_and_for_whoever_asks() {
        assert_eq!(frames(&HeaderMap::new()), V10::Merged);
        assert_eq!(frames(&headers(FRAMES, "single")), V10::Single);
        assert_eq!(frames(&headers(DRIVER, "Java")), V10::Single);
        assert_eq!(frames(&headers(DRIVER, "python")), V10::Merged);
    }
}
