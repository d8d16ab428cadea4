//! Every protocol as a reader of one table.

use std::collections::VecDeque;
use std::net::SocketAddr;

use event_source_tests::consume::lines::Lines;
use event_source_tests::consume::v4::V4Stream;
use event_source_tests::consume::v10::V10Stream;
use event_source_tests::consume::websocket::WebSocket;
use event_source_tests::consume::{self, Event, Form, Request, Stream, Version};
use serde_json::{Value, json};

use super::story::{Change, Kind};

/// The key of the row that ends the story.
pub(crate) const LAST: i32 = 1_000_000;
/// Longer than any pause.
use event_source_tests::wait::LONG as SILENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follower {
    Native,
    NativeWebSocket,
    V10,
    V4Set,
    Directus,
    LoopBack,
}

impl Follower {
    pub(crate) const ALL: [Self; 6] = [
        Self::Native,
        Self::NativeWebSocket,
        Self::V10,
        Self::V4Set,
        Self::Directus,
        Self::LoopBack,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::NativeWebSocket => "native by WebSocket",
            Self::V10 => "Fauna v10",
            Self::V4Set => "Fauna v4",
            Self::Directus => "Directus",
            Self::LoopBack => "LoopBack",
        }
    }

    /// What it has words for.
    pub(crate) fn tells(self, story: &[Change]) -> Vec<Change> {
        let changes = story.iter();
        match self {
            Self::Native | Self::NativeWebSocket => changes.cloned().collect(),
            Self::V10 => changes.map(Change::as_document).collect(),
            // Who comes and who goes.
            Self::V4Set => {
                let moves = changes.filter(|change| change.kind != Kind::Update);
                moves.map(Change::without_row).collect()
            }
            Self::Directus | Self::LoopBack => changes
                .map(|change| match change.kind {
                    Kind::Remove => change.without_row(),
                    Kind::Add | Kind::Update => change.clone(),
                })
                .collect(),
        }
    }

    /// Returns when every later change will be told.
    pub(crate) fn open(self, address: SocketAddr, token: &str, secret: &str) -> Reader {
        let bearer = format!("Bearer {secret}");
        let authorization = [("authorization", bearer.as_str())];
        let lines = |path: &str, headers: &[(&str, &str)], body: &Value| {
            Lines::open(address, Version::Http2, path, headers, body).expect("a stream opens")
        };
        let wire = match self {
            Self::Native => {
                let request = Request::new(token).over(Form::Lines, Version::Http2);
                Wire::Native(Stream::open(address, &request).expect("a stream opens"))
            }
            Self::NativeWebSocket => Wire::NativeWebSocket(
                WebSocket::open(address, &format!("/v1/stream?token={token}"))
                    .expect("a WebSocket opens"),
            ),
            Self::V10 => Wire::V10(
                V10Stream::open(address, Version::Http2, token, token, None)
                    .expect("a stream opens"),
            ),
            Self::V4Set => {
                let set = json!({ "documents": { "collection": "t" } });
                let mut stream = V4Stream::open(address, secret, &set, &[]).expect("it opens");
                let start = stream.next(SILENCE).expect("a start comes").expect("it goes on");
                assert_eq!(start.kind, consume::Kind::Status, "{start:?}");
                Wire::V4(stream)
            }
            Self::Directus => {
                let path = format!("/websocket?access_token={secret}");
                let mut socket = WebSocket::open(address, &path).expect("a WebSocket opens");
                let subscribe =
                    json!({ "type": "subscribe", "collection": "t", "query": { "limit": -1 } });
                socket.send(&subscribe).expect("the server is there");
                let init = socket.next(SILENCE).expect("an init comes").expect("it goes on");
                assert_eq!((&init["event"], &init["data"]), (&json!("init"), &json!([])));
                Wire::Directus(socket)
            }
            Self::LoopBack => {
                let headers = [authorization[0], ("accept", "text/event-stream")];
                let mut lines = lines("/api/ts/change-stream", &headers, &json!({ "options": {} }));
                let ok = lines.next(SILENCE).expect("a comment comes");
                assert_eq!(ok.as_deref(), Some(":ok\n"));
                Wire::LoopBack(lines)
            }
        };
        Reader { wire, waiting: VecDeque::new() }
    }
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Reader {
    wire: Wire,
    /// Told together and not given out yet.
    waiting: VecDeque<Change>,
}

#[derive(Debug)]
enum Wire {
    Native(Stream),
    NativeWebSocket(WebSocket),
    V10(V10Stream),
    V4(V4Stream),
    Directus(WebSocket),
    LoopBack(Lines),
}

impl Reader {
    /// Everything until the last row comes, that row too.
    pub(crate) fn until_last(&mut self) -> Vec<Change> {
        let mut story = Vec::new();
        let last = LAST.to_string();
        loop {
            let change = self.next();
            let is_last = change.key == last;
            story.push(change);
            if is_last {
                return story;
            }
        }
    }

    fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return change;
            }
            let changes = match &mut self.wire {
                Wire::Native(stream) => vec![of(stream.next_change(SILENCE))],
                Wire::NativeWebSocket(socket) => {
                    let event = serde_json::from_value(message(socket)).expect("an event");
                    change(event).into_iter().collect()
                }
                Wire::V10(stream) => {
                    let event = stream.next(SILENCE).expect("an event comes").expect("no end");
                    change(event.untagged()).into_iter().collect()
                }
                Wire::V4(stream) => {
                    vec![of(stream.next(SILENCE).expect("an event comes").expect("it goes on"))]
                }
                Wire::Directus(socket) => directus(socket),
                Wire::LoopBack(lines) => loopback(&line(lines)).into_iter().collect(),
            };
            self.waiting.extend(changes);
        }
    }
}

fn message(socket: &mut WebSocket) -> Value {
    socket.next(SILENCE).expect("a message comes").expect("the server goes on")
}

fn line(lines: &mut Lines) -> String {
    lines.next(SILENCE).expect("a line comes").expect("the stream goes on")
}

/// A change, if it is no status.
fn change(event: Event) -> Option<Change> {
    match event.kind {
        consume::Kind::Status => None,
        _ => Some(of(event)),
    }
}

fn of(event: Event) -> Change {
    let kind = match event.kind {
        consume::Kind::Add => Kind::Add,
        consume::Kind::Update => Kind::Update,
        consume::Kind::Remove => Kind::Remove,
        other => panic!("not expected: {other:?}"),
    };
    let key = event.key.or_else(|| event.data.as_ref().map(|row| row["id"].clone()));
    Change::new(kind, &key.expect("every change says of what"), event.data)
}

fn directus(socket: &mut WebSocket) -> Vec<Change> {
    let told = message(socket);
    if told["type"] == "ping" {
        socket.send(&json!({ "type": "pong" })).expect("the server is there");
        return Vec::new();
    }
    assert_eq!(told["type"], "subscription", "{told}");
    let items = told["data"].as_array().expect("an array of items").iter();
    let row = |kind| move |item: &Value| Change::new(kind, &item["id"], Some(item.clone()));
    match told["event"].as_str() {
        Some("create") => items.map(row(Kind::Add)).collect(),
        Some("update") => items.map(row(Kind::Update)).collect(),
        Some("delete") => items.map(|key| Change::new(Kind::Remove, key, None)).collect(),
        _ => panic!("not expected: {told}"),
    }
}

fn loopback(line: &str) -> Option<Change> {
    // The type of the message, comments and ids stand on lines of their own.
    let told: Value = serde_json::from_str(line.strip_prefix("data: ")?).expect("JSON");
    let row = || Some(told["data"].clone());
    let (kind, row) = match told["type"].as_str() {
        Some("create") => (Kind::Add, row()),
        Some("update") => (Kind::Update, row()),
        Some("remove") => (Kind::Remove, None),
        _ => panic!("not expected: {told}"),
    };
    Some(Change::new(kind, &told["target"], row))
}
