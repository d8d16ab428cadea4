//! `$NOW`, and `$NOW(-1 day)`: the moment of the subscription, since what an event means must not change
//! with the time at which it is read.

use event_source_wire::directus::error::Problem;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The value of a variable in a filter.
///
/// # Errors
/// There is no such variable; `$CURRENT_USER` and its like need users.
pub(super) fn variable(text: &str) -> Result<String, Problem> {
    at(text, Timestamp::now())
}

fn at(text: &str, now: Timestamp) -> Result<String, Problem> {
    let unknown = || Problem::query(format_args!("\"{text}\" is not supported in filters."));
    let rest = text.strip_prefix("$NOW").ok_or_else(unknown)?;
    if rest.is_empty() {
        return Ok(now.to_string());
    }
    let within = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let span = within.and_then(span).ok_or_else(unknown)?;
    let then = now.to_zoned(TimeZone::UTC).checked_add(span).map_err(|_| unknown())?;
    Ok(then.timestamp().to_string())
}

/// `-1 day`, `+2 hours`.
fn span(text: &str) -> Option<Span> {
    let text = text.trim();
    let digits = text.trim_start_matches(['+', '-']).trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let amount: i64 = digits[..end].parse().ok()?;
    let amount = if text.starts_with('-') { -amount } else { amount };
    let none = Span::new();
    let unit = digits[end..].trim();
    match unit.strip_suffix('s').filter(|one| one.len() > 1).unwrap_or(unit) {
        "year" | "yr" | "y" => none.try_years(amount),
        "month" | "mth" => none.try_months(amount),
        "week" | "wk" | "w" => none.try_weeks(amount),
        "day" | "d" => none.try_days(amount),
        "hour" | "hr" | "h" => none.try_hours(amount),
        "minute" | "min" | "m" => none.try_minutes(amount),
        "second" | "sec" | "s" => none.try_seconds(amount),
        "millisecond" | "msec" | "ms" => none.try_milliseconds(amount),
        _ => return None,
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_may_be_moved_by_calendar_units() {
        let now: Timestamp = "2024-03-31T12:00:00Z".parse().unwrap();
        let at = |text| at(text, now);
        assert_eq!(at("$NOW").unwrap(), "2024-03-31T12:00:00Z");
        assert_eq!(at("$NOW(-1 day)").unwrap(), "2024-03-30T12:00:00Z");
        assert_eq!(at("$NOW(-1 month)").unwrap(), "2024-02-29T12:00:00Z");
        assert_eq!(at("$NOW(+2 hours)").unwrap(), "2024-03-31T14:00:00Z");
        assert_eq!(at("$NOW(90 seconds)").unwrap(), "2024-03-31T12:01:30Z");
        assert_eq!(at("$NOW(5ms)").unwrap(), "2024-03-31T12:00:00.005Z");
    }

    #[test]
    fn what_needs_a_user_is_refused() {
        for text in ["$CURRENT_USER", "$NOW(soon)", "$NOW(1 age)", "$NOWHERE"] {
            assert!(variable(text).unwrap_err().message.contains(text), "{text}");
        }
    }
}
