//! One subscription of a connection: its stream, and the messages that are made of it.
//!
//! Items of one kind that follow each other in a transaction are one message, since Node's SDK loses what
//! comes too soon behind another. Where nothing says how a message is to be cut, what waits of several
//! transactions is one too: a client that is given a message every few milliseconds would fall behind.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use event_source_model::value::Value;
use event_source_wire::directus::error::{Problem, SERVICE_UNAVAILABLE};
use event_source_wire::directus::message::{self, Kind};

use super::line::{self, Line};
use super::order;
use super::query::Window;
use crate::hub::{self, Next};

/// What a message grows to, unless a single item is larger.
const MOST_BYTES: usize = 512 * 1024;

/// How the messages of a subscription are made.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub uid: Option<String>,
    pub of_item: bool,
    pub window: Window,
    /// Of each field that items are sorted by, whether the highest come first.
    pub descending: Vec<bool>,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub shape: Shape,
    /// The source, and behind what of it the next stream would begin.
    pub token: String,
    pub cursor: Option<String>,
    /// What the stream was opened with.
    pub secret: Option<String>,
    /// `None` while the connection has no good credential.
    pub stream: Option<hub::Subscription>,
    /// What was read last; its memory counts until it is said.
    held: Bytes,
    /// Read and not yet said.
    lines: VecDeque<Line>,
    open: Option<Group>,
}

/// What becomes one message.
#[derive(Debug)]
struct Group {
    kind: Kind,
    txn_ts: i64,
    cursor: String,
    items: Vec<(Vec<Value>, String)>,
    bytes: usize,
}

/// What a subscription has to say.
#[derive(Debug)]
pub(super) enum Said {
    Message(String),
    /// The stream has ended.
    End(Problem),
}

impl Subscription {
    pub(super) fn new(
        shape: Shape,
        token: String,
        secret: Option<String>,
        stream: hub::Subscription,
    ) -> Self {
        let (lines, stream) = (VecDeque::new(), Some(stream));
        Self { shape, token, cursor: None, secret, stream, held: Bytes::new(), lines, open: None }
    }

    /// The next message. What is ready is folded into it as far as it may be.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Said> {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if let Some(said) = self.take(line) {
                    return Poll::Ready(said);
                }
            }
            let Some(stream) = &self.stream else { return Poll::Pending };
            match stream.poll_next(context, false) {
                Poll::Ready(Next::Chunk(chunk)) => {
                    let text = std::str::from_utf8(&chunk.bytes).expect("the renderer wrote text");
                    self.lines.extend(text.lines().map(line::read));
                    self.held = chunk.bytes;
                }
                Poll::Ready(Next::End(_)) => {
                    let cut = Problem::new(SERVICE_UNAVAILABLE, "the stream was cut");
                    self.lines.push_back(Line::End(cut));
                }
                Poll::Pending => {
                    return match self.close() {
                        Some(said) => Poll::Ready(said),
                        None => {
                            self.held = Bytes::new();
                            Poll::Pending
                        }
                    };
                }
            }
        }
    }

    /// Takes a line into the open group, or says the group and leaves the line.
    fn take(&mut self, line: Line) -> Option<Said> {
        match line {
            Line::Item { kind, txn_ts, cursor, by, json } => {
                let fits =
                    self.open.as_ref().is_none_or(|open| self.fits(open, kind, txn_ts, &json));
                if !fits {
                    self.lines.push_front(Line::Item { kind, txn_ts, cursor, by, json });
                    return self.close();
                }
                let group = self.open.get_or_insert_with(|| Group {
                    kind,
                    txn_ts,
                    cursor: String::new(),
                    items: Vec::new(),
                    bytes: 0,
                });
                (group.txn_ts, group.cursor) = (txn_ts, cursor);
                group.bytes += json.len();
                group.items.push((by, json));
                None
            }
            Line::At(cursor) => {
                let said = self.close();
                self.cursor = Some(cursor);
                said
            }
            Line::End(problem) => {
                if let Some(said) = self.close() {
                    self.lines.push_front(Line::End(problem));
                    return Some(said);
                }
                self.stream = None;
                Some(Said::End(problem))
            }
        }
    }

    fn fits(&self, open: &Group, kind: Kind, txn_ts: i64, json: &str) -> bool {
        let is_free = self.shape.window.is_open() && self.shape.descending.is_empty();
        open.kind == kind
            && !self.shape.of_item
            && (open.txn_ts == txn_ts || is_free)
            && open.bytes + json.len() <= MOST_BYTES
    }

    /// The message of the open group; `None` without one, or when nothing of it is wanted.
    fn close(&mut self) -> Option<Said> {
        let Group { kind, cursor, mut items, bytes, .. } = self.open.take()?;
        self.cursor = Some(cursor);
        if kind != Kind::Delete && !self.shape.of_item {
            let Window { skip, .. } = self.shape.window;
            items.sort_by(|(a, _), (b, _)| order::compare(a, b, &self.shape.descending));
            items.drain(..items.len().min(usize::try_from(skip).unwrap_or(usize::MAX)));
            items.truncate(self.shape.window.of_message().unwrap_or(usize::MAX));
        }
        if items.is_empty() {
            return None;
        }
        let uid = self.shape.uid.as_deref();
        if self.shape.of_item {
            // Each is alone.
            return items.pop().map(|(_, item)| Said::Message(message::event(kind, &item, uid)));
        }
        let mut data = String::with_capacity(bytes + items.len() + 2);
        for (_, item) in &items {
            data.push(if data.is_empty() { '[' } else { ',' });
            data.push_str(item);
        }
        data.push(']');
        Some(Said::Message(message::event(kind, &data, uid)))
    }
}
