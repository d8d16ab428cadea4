//! Three ways to follow the table, each rebuilding it on its own.

use std::net::SocketAddr;
use std::time::Duration;

use event_source_tests::consume::sql::event_page;
use event_source_tests::consume::{
    Event, Failed, Feed, Form, Kind, Page, Request, Stream, Version,
};
use postgres::Client;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::replica::{Disorder, Replica};

/// Longer than any pause of a sound run: a stream says something every `status_interval`.
const SILENCE: Duration = Duration::from_secs(60);

/// How a follower ends early when another one found a fault.
pub(crate) trait Watch: Fn() -> bool {}
impl<T: Fn() -> bool> Watch for T {}

/// One stream, kept open from the first row to the last.
pub(crate) fn stream(
    address: SocketAddr,
    token: &str,
    mut replica: Replica,
    stop: impl Watch,
) -> Outcome {
    let request = Request::new(token).with_prev().over(Form::Lines, Version::Http2);
    let mut stream = Stream::open(address, &request).map_err(|e| failed(&replica, &e))?;
    while !replica.complete && !stop() {
        let event = next(&mut stream, &replica)?;
        if event.kind != Kind::Status {
            replica.apply(event)?;
        }
    }
    Ok(replica)
}

/// A stream that is cut at random places and resumed, each time in another form.
pub(crate) fn cut_stream(
    address: SocketAddr,
    token: &str,
    seed: u64,
    mut replica: Replica,
    stop: impl Watch,
) -> Outcome {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut cursor = None;
    while !replica.complete && !stop() {
        let form = if random.random() { Form::Lines } else { Form::Sse };
        let version = if random.random() { Version::Http1 } else { Version::Http2 };
        let request = Request::new(token).after(cursor.clone()).with_prev().over(form, version);
        let mut stream = Stream::open(address, &request).map_err(|e| failed(&replica, &e))?;
        // Some are cut before they said anything, some live through thousands of events.
        let reach = 1_u32 << random.random_range(0..13);
        for _ in 0..random.random_range(0..reach) {
            let event = next(&mut stream, &replica)?;
            cursor = event.cursor.clone();
            if event.kind != Kind::Status {
                replica.apply(event)?;
            }
            if replica.complete || stop() {
                break;
            }
        }
    }
    Ok(replica)
}

/// A feed with random page sizes, over HTTP and in SQL by turns.
pub(crate) fn feed(
    address: SocketAddr,
    mut client: Client,
    token: &str,
    seed: u64,
    mut replica: Replica,
    stop: impl Watch,
) -> Outcome {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut http = Feed::new(address, Version::Http1).map_err(|e| failed(&replica, &e))?;
    let mut cursor: Option<String> = None;
    let mut quiet = std::time::Instant::now();
    while !replica.complete && !stop() {
        let reach = 1_i32 << random.random_range(1..11);
        let page_size = random.random_range(1..=reach);
        let page: Page = if random.random() {
            event_page(&mut client, token, cursor.as_deref(), page_size, &["prev"])
                .map_err(|e| Disorder::Client(format!("{e:?}")))?
        } else {
            let more = json!({ "include": "prev", "page_size": page_size, "wait": 1 });
            http.page(token, cursor.as_deref(), &more).map_err(|e| failed(&replica, &e))?
        };
        if page.events.len() > page_size.unsigned_abs() as usize {
            return Err(Disorder::Client(format!("{} events, not {page_size}", page.events.len())));
        }
        if !page.events.is_empty() {
            quiet = std::time::Instant::now();
        } else if quiet.elapsed() > SILENCE {
            return Err(silence(&replica, "the feed stays empty"));
        }
        cursor = Some(page.cursor);
        for event in page.events {
            replica.apply(event)?;
        }
    }
    Ok(replica)
}

/// What a follower comes back with.
pub(crate) type Outcome = Result<Replica, Disorder>;

fn next(stream: &mut Stream, replica: &Replica) -> Result<Event, Disorder> {
    match stream.next(SILENCE) {
        Ok(Some(event)) if event.kind == Kind::Error => Err(Disorder::Client(format!("{event:?}"))),
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err(silence(replica, "the stream ended")),
        Err(e) => Err(failed(replica, &e)),
    }
}

fn failed(replica: &Replica, error: &Failed) -> Disorder {
    match error {
        Failed::TimedOut(_) => silence(replica, &error.to_string()),
        _ => Disorder::Client(error.to_string()),
    }
}

fn silence(replica: &Replica, why: &str) -> Disorder {
    Disorder::Silence { after: replica.sequence.len(), why: why.to_owned() }
}
