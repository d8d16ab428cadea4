//! A scenario twice: followed live, then read again from the log by a server that remembers nothing.
//!
//! It guarantees that what is compared is what was on the wire, byte for byte: nothing is parsed and
//! written again. Of Fauna's wire `stats` is cut out, which says what this delivery cost.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Cluster;
use crate::cluster::Stop;
use crate::consume::http::text;
use crate::consume::v10::{V10Stream, query};
use crate::consume::{Request, Stream, Version};
use crate::follow::{drain, mint};

const SOON: Duration = Duration::from_secs(30);
const STATUS: &str = r#"{"type":"status""#;

/// What happens, and who looks.
#[derive(Clone, Copy, Debug)]
pub struct Scenario<'a> {
    /// Tables and their captures.
    pub schema: &'a str,
    /// What there is before anybody looks.
    pub before: &'a [&'a str],
    /// Expressions that mint a token.
    pub sources: &'a [&'a str],
    /// Queries of Fauna's that mint one, as role `reader`.
    pub queries: &'a [&'a str],
    /// Each a transaction, or several.
    pub transactions: &'a [&'a str],
}

/// How many events each source gave.
///
/// # Panics
/// When a source was told another story the second time.
#[track_caller]
#[must_use]
pub fn twice(scenario: Scenario<'_>) -> Vec<usize> {
    let mut cluster = Cluster::start();
    let mut client = cluster.connect();
    let run = |client: &mut postgres::Client, sql: &str| {
        client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    };
    run(&mut client, scenario.schema);
    scenario.before.iter().for_each(|sql| run(&mut client, sql));
    let _serving = cluster.serving();
    let mut tokens: Vec<String> =
        scenario.sources.iter().map(|source| mint(&mut client, source)).collect();
    if !scenario.queries.is_empty() {
        let secret = mint(&mut client, "event_source.create_secret('reader')");
        tokens.extend(scenario.queries.iter().map(|text| asked(&cluster, &secret, text)));
    }
    let mut live: Vec<Both> = tokens.iter().map(|token| Both::open(&cluster, token)).collect();
    scenario.transactions.iter().for_each(|sql| run(&mut client, sql));

    let counts: Vec<usize> =
        tokens.iter().map(|token| drain(&mut client, token, None).len()).collect();
    let first: Vec<Told> =
        live.iter_mut().zip(&counts).map(|(both, count)| both.told(*count)).collect();
    drop((live, client));
    cluster.restart(Stop::Fast);
    let _serving = cluster.serving();
    let sources = scenario.sources.iter().chain(scenario.queries);
    for ((token, source), (first, count)) in
        tokens.iter().zip(sources).zip(first.iter().zip(&counts))
    {
        let replayed = Both::open(&cluster, token).told(*count);
        assert_eq!(replayed.v10, first.v10, "replayed, v10: {source}");
        assert_eq!(replayed.native, first.native, "replayed, native: {source}");
        let paged = paged(&cluster, token, "/feed/1", &json!({}));
        let paged: Vec<String> = paged.iter().map(|event| without_stats(event)).collect();
        assert_eq!(paged, first.v10, "in pages, v10: {source}");
        let paged = self::paged(&cluster, token, "/v1/feed", &json!({ "include": "prev,diff" }));
        assert_eq!(paged, first.native, "in pages, native: {source}");
    }
    counts
}

/// The token that a query makes.
fn asked(cluster: &Cluster, secret: &str, text: &str) -> String {
    let answer = query(cluster.http(), Version::Http1, secret, text);
    let answer = answer.unwrap_or_else(|e| panic!("{text}: {e}"));
    answer["@stream"].as_str().unwrap_or_else(|| panic!("{text}: {answer}")).to_owned()
}

/// What a source tells, event by event.
#[derive(Debug)]
struct Told {
    v10: Vec<String>,
    native: Vec<String>,
}

/// Two streams of one source.
#[derive(Debug)]
struct Both {
    v10: V10Stream,
    native: Stream,
}

impl Both {
    fn open(cluster: &Cluster, token: &str) -> Self {
        let v10 = V10Stream::open(cluster.http(), Version::Http2, token, token, None);
        let mut request = Request::new(token);
        request.include = Some("prev,diff".to_owned());
        let native = Stream::open(cluster.http(), &request);
        Self { v10: v10.expect("a stream"), native: native.expect("a stream") }
    }

    fn told(&mut self, count: usize) -> Told {
        let v10 = || {
            let line = self.v10.next_line(SOON).expect("a line").expect("the stream goes on");
            line.trim_end().to_owned()
        };
        let v10 = events(count, v10).iter().map(|line| without_stats(line)).collect();
        let native = || self.native.next_line(SOON).expect("a line").expect("the stream goes on");
        Told { v10, native: events(count, native) }
    }
}

fn events(count: usize, line: impl FnMut() -> String) -> Vec<String> {
    std::iter::repeat_with(line).filter(|line| !line.starts_with(STATUS)).take(count).collect()
}

/// All events, a page each.
fn paged(cluster: &Cluster, token: &str, path: &str, more: &Value) -> Vec<String> {
    let bearer = format!("Bearer {token}");
    let mut body = more.clone();
    (body["token"], body["page_size"]) = (json!(token), json!(1));
    let mut events = Vec::new();
    loop {
        let headers = [("authorization", bearer.as_str())];
        let page = text(cluster.http(), Version::Http1, path, &headers, &body).expect("a page");
        let (event, rest) = page
            .strip_prefix(r#"{"events":["#)
            .and_then(|page| page.rsplit_once(r#"],"cursor":""#))
            .unwrap_or_else(|| panic!("no page: {page}"));
        if !event.is_empty() {
            events.push(event.to_owned());
        }
        if rest.contains(r#""has_next":false"#) {
            return events;
        }
        body["cursor"] = json!(rest.split('"').next());
    }
}

/// Statistics stand at an event's end and hold no object.
fn without_stats(event: &str) -> String {
    let (event, stats) = event.rsplit_once(r#","stats":{"#).expect("every event has them");
    assert!(stats.ends_with("}}") && stats.matches('}').count() == 2, "{stats}");
    format!("{event}}}")
}
