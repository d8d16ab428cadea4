//! The native wire's parameters, from the query and a JSON body alike.
//!
//! It guarantees that nothing a client asked for is ignored: an unknown parameter, one given
//! twice or one that does not fit is refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use event_source_door::message::StartAt;
use event_source_model::event::{LARGEST_PAGE, Reason, Refusal};
use event_source_wire::native::{Numbers, Options};
use serde_json::Value;

const DEFAULT_PAGE: u32 = 100;
const LONGEST_WAIT: f64 = 60.0;

/// The parameters of a request that were not asked for yet.
#[derive(Debug)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads the query and the body.
    pub(super) fn read(query: Option<&str>, body: &[u8]) -> Result<Self, Refusal> {
        let mut params = Self(BTreeMap::new());
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            params.add(name.into_owned(), value.into_owned())?;
        }
        if body.is_empty() {
            return Ok(params);
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
            return Err(invalid("the body is not a JSON object"));
        };
        for (name, value) in fields {
            if let Some(text) = text(&value).map_err(|()| wrong(&name, "a text or a number"))? {
                params.add(name, text)?;
            }
        }
        Ok(params)
    }

    fn add(&mut self, name: String, value: String) -> Result<(), Refusal> {
        if self.0.contains_key(&name) {
            return Err(invalid(format!("parameter \"{name}\" is given twice")));
        }
        self.0.insert(name, value);
        Ok(())
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// `cursor`, `start_ts` or `snapshot`; the `Last-Event-ID` of a reconnect goes before all. A cursor
    /// goes before `snapshot`, too: it says how much of that the reader has.
    pub(super) fn start(&mut self, last_event_id: Option<&str>) -> Result<StartAt, Refusal> {
        let cursor = self.take("cursor").filter(|c| !c.is_empty());
        let start_ts = self.take("start_ts");
        let snapshot = self.snapshot()?;
        if snapshot && start_ts.is_some() {
            return Err(invalid("\"snapshot\" and \"start_ts\" exclude each other"));
        }
        if let Some(id) = last_event_id.filter(|id| !id.is_empty()) {
            return Ok(StartAt::Cursor(id.to_owned()));
        }
        match (cursor, start_ts) {
            (Some(_), Some(_)) => Err(invalid("\"cursor\" and \"start_ts\" exclude each other")),
            (Some(cursor), None) => Ok(StartAt::Cursor(cursor)),
            (None, Some(text)) => instant(&text).map(StartAt::Timestamp),
            (None, None) if snapshot => Ok(StartAt::Snapshot),
            (None, None) => Ok(StartAt::Token),
        }
    }

    /// `include` and `numbers`.
    pub(super) fn options(&mut self) -> Result<Options, Refusal> {
        let mut options = Options::default();
        let include = self.take("include").unwrap_or_default();
        for name in include.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "prev" => options.prev = true,
                "diff" => options.diff = true,
                _ => return Err(wrong("include", "a list of \"prev\" and \"diff\"")),
            }
        }
        options.numbers = match self.take("numbers").as_deref() {
            None | Some("number") => Numbers::Digits,
            Some("string") => Numbers::Text,
            Some(_) => return Err(wrong("numbers", "\"number\" or \"string\"")),
        };
        Ok(options)
    }

    pub(super) fn page_size(&mut self) -> Result<u32, Refusal> {
        let Some(text) = self.take("page_size") else { return Ok(DEFAULT_PAGE) };
        let size = text.parse().ok().filter(|size| (1..=LARGEST_PAGE).contains(size));
        size.ok_or_else(|| wrong("page_size", "between 1 and 16000"))
    }

    /// How long to wait for the first event, in seconds.
    pub(super) fn wait(&mut self) -> Result<Duration, Refusal> {
        let Some(text) = self.take("wait") else { return Ok(Duration::ZERO) };
        let seconds = text.parse().ok().filter(|s| (0.0..=LONGEST_WAIT).contains(s));
        seconds
            .map(Duration::from_secs_f64)
            .ok_or_else(|| wrong("wait", "between 0 and 60 seconds"))
    }

    /// Whether the set's rows come first.
    fn snapshot(&mut self) -> Result<bool, Refusal> {
        match self.take("snapshot").as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong("snapshot", "true or false")),
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.into_keys().next() {
            Some(name) => Err(invalid(format!("unknown parameter \"{name}\""))),
            None => Ok(()),
        }
    }
}

/// The text of a parameter in JSON; a list is joined by commas, null is absent.
fn text(value: &Value) -> Result<Option<String>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(b) => Ok(Some(b.to_string())),
        Value::Number(n) => Ok(Some(n.to_string())),
        Value::String(s) => Ok(Some(s.clone())),
        Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            items.map(|items| Some(items.join(","))).ok_or(())
        }
        Value::Object(_) => Err(()),
    }
}

/// Microseconds since 1970, given as such or as RFC 3339.
fn instant(text: &str) -> Result<i64, Refusal> {
    if let Ok(micros) = text.parse() {
        return Ok(micros);
    }
    let instant: Result<jiff::Timestamp, _> = text.parse();
    let instant = instant.map_err(|_| wrong("start_ts", "RFC 3339 or microseconds since 1970"))?;
    Ok(instant.as_microsecond())
}

fn wrong(name: &str, must_be: &str) -> Refusal {
    invalid(format!("parameter \"{name}\" must be {must_be}"))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Params {
        Params::read(Some(query), b"").unwrap()
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let refusal = of("tokn=x").finish().unwrap_err();
        assert_eq!(refusal.message, "unknown parameter \"tokn\"");
    }

    #[test]
    fn query_and_body_say_the_same_things_but_not_the_same_one_twice() {
        let body = br#"{"include":["prev","diff"],"page_size":7,"cursor":null}"#;
        let mut params = Params::read(Some("token=t"), body).unwrap();
        let options = params.options().unwrap();
        assert!(options.prev && options.diff);
        assert_eq!(params.page_size().unwrap(), 7);
        assert!(Params::read(Some("page_size=7"), body).is_err());
    }

    #[test]
    fn a_start_is_an_instant_in_either_form() {
        let at = |text: &str| of(&format!("start_ts={text}")).start(None).unwrap();
        assert_eq!(at("1710456655930000"), StartAt::Timestamp(1_710_456_655_930_000));
        assert_eq!(at("2024-03-14T22:50:55.93Z"), StartAt::Timestamp(1_710_456_655_930_000));
        assert!(of("start_ts=yesterday").start(None).is_err());
    }

    #[test]
    fn a_reconnect_goes_on_where_it_was_cut_whatever_its_url_says() {
        let start = of("cursor=old").start(Some("new")).unwrap();
        assert_eq!(start, StartAt::Cursor("new".to_owned()));
        assert_eq!(of("cursor=").start(None).unwrap(), StartAt::Token);
    }

    #[test]
    fn a_reader_that_has_a_cursor_is_not_given_the_rows_again() {
        assert_eq!(of("snapshot=true").start(None).unwrap(), StartAt::Snapshot);
        let start = of("snapshot=true&cursor=c").start(None).unwrap();
        assert_eq!(start, StartAt::Cursor("c".to_owned()));
        let start = of("snapshot=true").start(Some("id")).unwrap();
        assert_eq!(start, StartAt::Cursor("id".to_owned()));
        assert!(of("snapshot=true&start_ts=7").start(None).is_err());
        assert!(of("snapshot=maybe").start(None).is_err());
    }

    #[test]
    fn pages_and_waits_have_bounds() {
        for bad in ["page_size=0", "page_size=16001", "page_size=-1", "page_size=x"] {
            assert!(of(bad).page_size().is_err(), "{bad}");
        }
        assert!(of("wait=61").wait().is_err());
        assert!(of("wait=NaN").wait().is_err());
        assert_eq!(of("wait=1.5").wait().unwrap(), Duration::from_millis(1500));
    }
}
