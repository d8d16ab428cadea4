//! The transports: each yields the same events, each in its own way, and breaks in its own way.
//!
//! What ends for good is told apart from what a client survives by asking again; nothing is retried
//! here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use postgres::{Client, Config, NoTls};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::disorder::Disorder;
use super::image::Form as Shown;
use super::replica::Identity;
use crate::consume::sql::event_page;
use crate::consume::v10::{Tagged, V10Stream};
use crate::consume::{Event, Failed, Feed, Form, Kind, Page, Request, Stream, Version, WireError};
use crate::follow::explain;

/// How long a source listens before it says that nothing came.
const GLANCE: Duration = Duration::from_millis(200);

/// By which way a follower follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One native stream, open as long as it lasts.
    Native(Form, Version),
    /// A native stream that is cut at random places and resumed, each time in another form.
    Cut,
    /// Fauna's v10 stream, cut and resumed likewise.
    Document,
    /// A feed with random page sizes, over HTTP and in SQL by turns.
    Pages,
}

impl Transport {
    /// What rows look like over this transport.
    #[must_use]
    pub fn shows(self, identity: Identity) -> Identity {
        match self {
            Self::Document => Identity { form: Shown::Document, ..identity },
            Self::Native(..) | Self::Cut | Self::Pages => identity,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native(Form::Sse, Version::Http1) => "events over HTTP/1.1",
            Self::Native(Form::Sse, Version::Http2) => "events over HTTP/2",
            Self::Native(Form::Lines, Version::Http1) => "lines over HTTP/1.1",
            Self::Native(Form::Lines, Version::Http2) => "lines over HTTP/2",
            Self::Cut => "cut stream",
            Self::Document => "documents",
            Self::Pages => "feed",
        }
    }
}

/// What a source has to say.
#[derive(Debug)]
pub enum Heard {
    Event(Box<Event>),
    /// Nothing new within a moment.
    Nothing,
    /// It broke, or was cut: go on behind the last cursor.
    Broken(String),
    /// It ended for good, and said why.
    Ended(WireError),
}

/// Where to connect and what to follow.
#[derive(Clone, Debug)]
pub struct Access {
    pub http: SocketAddr,
    pub sql: Config,
}

/// A source, opened at its first use.
#[derive(Debug)]
pub struct Source {
    access: Access,
    transport: Transport,
    random: SmallRng,
    open: Option<Open>,
    /// How many events until it is cut.
    left: Option<u32>,
    /// Of the page that is being read.
    read: VecDeque<Event>,
}

enum Open {
    Native(Box<Stream>),
    Document(Box<V10Stream>),
    /// Over HTTP, and in SQL.
    Pages(Box<(Feed, Client)>),
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native(_) => "a native stream",
            Self::Document(_) => "a v10 stream",
            Self::Pages(_) => "a feed",
        })
    }
}

impl Source {
    #[must_use]
    pub fn new(access: Access, transport: Transport, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { access, transport, random, open: None, left: None, read: VecDeque::new() }
    }

    /// Breaks the connection.
    pub fn cut(&mut self) {
        self.open = None;
        self.read.clear();
    }

    /// What comes next behind `cursor`, which is only used when a connection is made.
    ///
    /// # Errors
    /// When a promise of the wire is broken.
    pub fn next(&mut self, token: &str, cursor: Option<&str>) -> Result<Heard, Disorder> {
        if let Some(event) = self.read.pop_front() {
            let heard = said(event);
            if !matches!(heard, Heard::Event(_)) {
                self.cut();
            }
            return Ok(heard);
        }
        if self.left == Some(0) {
            self.left = None;
            self.cut();
            return Ok(Heard::Broken("cut".to_owned()));
        }
        let heard = match self.connected(token, cursor) {
            Ok(()) => self.hear(token, cursor),
            Err(failed) => Err(failed),
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(failed) => tell(failed)?,
        };
        if let (Heard::Event(_), Some(left)) = (&heard, &mut self.left) {
            // A reach of none is known only after the stream was opened, and its first event is the last.
            *left = left.saturating_sub(1);
        }
        if matches!(heard, Heard::Broken(_) | Heard::Ended(_)) {
            self.cut();
        }
        Ok(heard)
    }

    fn connected(&mut self, token: &str, cursor: Option<&str>) -> Result<(), Lost> {
        if self.open.is_some() {
            return Ok(());
        }
        let address = self.access.http;
        let cursor = cursor.map(str::to_owned);
        let native = |form, version| {
            let request = Request::new(token).after(cursor.clone()).with_prev().over(form, version);
            Stream::open(address, &request).map(|stream| Open::Native(Box::new(stream)))
        };
        self.open = Some(match self.transport {
            Transport::Native(form, version) => native(form, version)?,
            Transport::Cut => {
                let form = if self.random.random() { Form::Lines } else { Form::Sse };
                let version = self.any_version();
                self.left = Some(self.reach());
                native(form, version)?
            }
            Transport::Document => {
                let version = self.any_version();
                self.left = Some(self.reach());
                let stream = V10Stream::open(address, version, token, token, cursor.as_deref())?;
                Open::Document(Box::new(stream))
            }
            Transport::Pages => {
                let feed = Feed::new(address, Version::Http1)?;
                Open::Pages(Box::new((feed, self.access.sql.connect(NoTls)?)))
            }
        });
        Ok(())
    }

    fn hear(&mut self, token: &str, cursor: Option<&str>) -> Result<Heard, Lost> {
        let heard = match self.open.as_mut().expect("connected before") {
            Open::Native(stream) => stream.next(GLANCE),
            Open::Document(stream) => {
                stream.next(GLANCE).map(|tagged| tagged.map(Tagged::untagged))
            }
            Open::Pages(clients) => {
                let reach = 1_i32 << self.random.random_range(1..11);
                let page_size = self.random.random_range(1..=reach);
                let page: Page = if self.random.random() {
                    event_page(&mut clients.1, token, cursor, page_size, &["prev"])?
                } else {
                    let more = json!({ "include": "prev", "page_size": page_size, "wait": 1 });
                    clients.0.page(token, cursor, &more)?
                };
                return Ok(self.take(page, page_size));
            }
        };
        Ok(match heard {
            Ok(Some(event)) => said(event),
            Ok(None) => Heard::Broken("the stream ended without a word".to_owned()),
            Err(Failed::TimedOut(_)) => Heard::Nothing,
            Err(failed) => return Err(failed.into()),
        })
    }

    /// A page is its events and the status of its end.
    fn take(&mut self, page: Page, page_size: i32) -> Heard {
        let error = page.events.iter().position(|event| event.kind == Kind::Error);
        let mut events = page.events;
        let error = error.map(|at| events.split_off(at).swap_remove(0));
        if events.len() > page_size.unsigned_abs() as usize {
            return Heard::Ended(WireError {
                code: "too_many".to_owned(),
                message: format!("{} events, not {page_size}", events.len()),
                hint: None,
                cursor: None,
            });
        }
        self.read = events.into();
        // The page's cursor is a status; before an error the last event's own cursor stands.
        self.read.push_back(error.unwrap_or(Event {
            kind: Kind::Status,
            txn_ts: None,
            cursor: Some(page.cursor),
            key: None,
            data: None,
            prev: None,
            diff: None,
            snapshot: None,
            error: None,
        }));
        said(self.read.pop_front().expect("just filled"))
    }

    fn any_version(&mut self) -> Version {
        if self.random.random() { Version::Http1 } else { Version::Http2 }
    }

    /// Some are cut before they said anything, some live through thousands of events.
    fn reach(&mut self) -> u32 {
        let reach = 1_u32 << self.random.random_range(0..13);
        self.random.random_range(0..reach)
    }
}

fn said(event: Event) -> Heard {
    match (event.kind, event.error) {
        // Servers stop: the native wire has a code for it, v10 says it in words.
        (Kind::Error, Some(WireError { code, message, .. }))
            if code == "unavailable"
                || (code == "internal_error" && message.contains("connect again")) =>
        {
            Heard::Broken(message)
        }
        (Kind::Error, Some(error)) => Heard::Ended(error),
        (_, error) => Heard::Event(Box::new(Event { error, ..event })),
    }
}

/// A client that failed.
enum Lost {
    Wire(Failed),
    Sql(postgres::Error),
}

impl From<Failed> for Lost {
    fn from(failed: Failed) -> Self {
        Self::Wire(failed)
    }
}

impl From<postgres::Error> for Lost {
    fn from(error: postgres::Error) -> Self {
        Self::Sql(error)
    }
}

/// Tells a broken connection from a refusal and from a broken promise.
fn tell(lost: Lost) -> Result<Heard, Disorder> {
    match lost {
        Lost::Wire(Failed::Refused { status, body }) => {
            let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
            let why = format!("{status}: {body}");
            Ok(match status.as_u16() {
                429 | 503 => Heard::Broken(why),
                _ => Heard::Ended(WireError {
                    code: text("code"),
                    message: why,
                    hint: None,
                    cursor: None,
                }),
            })
        }
        Lost::Wire(failed @ Failed::Malformed(_)) => Err(Disorder::Client(failed.to_string())),
        Lost::Wire(failed) => Ok(Heard::Broken(failed.to_string())),
        Lost::Sql(error) => match error.as_db_error() {
            // Class 57 is what an administrator does, 08 a lost connection.
            Some(said) if !["57", "08"].contains(&&said.code().code()[..2]) => {
                Ok(Heard::Ended(WireError {
                    code: said.code().code().to_owned(),
                    message: explain(&error),
                    hint: None,
                    cursor: None,
                }))
            }
            _ => Ok(Heard::Broken(explain(&error))),
        },
    }
}
