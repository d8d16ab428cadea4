//! Harm by what belongs to others: tokens, secrets, and the numbers of what they opened.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use event_source_door::message::{
    Access, First, GrantId, PageAsked, RequestId, StartAt, ToServer, ToWorker,
};
use event_source_model::position::Position;
use event_source_model::query::{Ask, Name, Of, Rows, Shown, Span};
use event_source_model::snapshot::Snapshot;
use event_source_model::source::Start;
use rand::RngExt as _;

use crate::Attack;

/// Longer than the worker takes for anything that is asked here.
const ANSWER: Duration = Duration::from_secs(20);

/// Everything that might give rows that the role of the own token may not read.
pub(crate) fn steal(attack: &mut Attack) {
    attack.hello();
    let answers = attack.listen();
    let mut asks = Vec::new();
    let access = |token: &str, secret: Option<&str>| Access {
        token: token.to_owned(),
        secret: secret.map(str::to_owned),
    };
    let own = access(&attack.token, None);
    let page = PageAsked { size: 1000, time_ms: None };
    // Its own, so that the report has something in it.
    for start in [StartAt::Token, StartAt::Snapshot, StartAt::Timestamp(0)] {
        let first = Some(First { limit: 1000, remembered: None });
        asks.push(ToWorker::Open {
            request: 0,
            access: own.clone(),
            start: start.clone(),
            before_token: true,
            first,
        });
        asks.push(ToWorker::Page { request: 0, access: own.clone(), start, page });
    }
    // What others' tokens become when they are changed: any letter, any length, halves of both.
    for token in altered(attack) {
        let (access, start) = (access(&token, None), StartAt::Snapshot);
        asks.push(ToWorker::Page { request: 0, access, start, page });
    }
    for secret in ["", "s", &attack.other, "eyJhbGciOiJub25lIn0.eyJyb2xlIjoib3duZXIifQ."] {
        let access = access(&attack.token, Some(secret));
        asks.push(ToWorker::Page { request: 0, access, start: StartAt::Snapshot, page });
        let ask = all_rows_of("secret_t");
        asks.push(ToWorker::Query { request: 0, secret: Some(secret.to_owned()), ask });
    }
    asks.push(ToWorker::Query { request: 0, secret: None, ask: all_rows_of("secret_t") });
    // What another server, or another stream, was given.
    let rows = Snapshot { behind: Some(Vec::new()), saw: Start { closed: 0, seen: Vec::new() } };
    let behind_nothing = Position::after(0).having_seen(Some(Box::new(rows)));
    let grants = (0..200).chain([GrantId::MAX, 1 << 63, 1 << 32]);
    for grant in grants.clone() {
        for from in [Position::after(0), behind_nothing.clone(), Position::after(i64::MAX)] {
            asks.push(ToWorker::Read { request: 0, grant, from, limit: 1000 });
        }
    }
    asks.push(ToWorker::Poll { request: 0, grants: grants.collect() });
    for (number, mut message) in (1..).zip(asks) {
        renumber(&mut message, number);
        attack.say(&message);
        hear(&answers, number);
    }
}

/// More streams than its settings allow, and none of them is closed.
pub(crate) fn open_without_end(attack: &mut Attack) {
    attack.hello();
    let answers = attack.listen();
    let access = Access { token: attack.token.clone(), secret: None };
    for request in 1..=500 {
        let (access, start) = (access.clone(), StartAt::Token);
        attack.say(&ToWorker::Open { request, access, start, before_token: true, first: None });
        hear(&answers, request);
    }
}

/// Waits for the last part of an answer.
fn hear(answers: &Receiver<ToServer>, wanted: RequestId) {
    let begun = Instant::now();
    loop {
        let left = ANSWER.saturating_sub(begun.elapsed());
        let is_last = match answers.recv_timeout(left) {
            Ok(ToServer::Opened { request, opened }) => request == wanted && !opened.reads,
            Ok(ToServer::Batch { request, batch }) => request == wanted && !batch.goes_on,
            Ok(ToServer::Page { request, goes_on, .. }) => request == wanted && !goes_on,
            Ok(
                ToServer::Refused { request, .. }
                | ToServer::Answered { request, .. }
                | ToServer::Failed { request, .. }
                | ToServer::Polled { request },
            ) => request == wanted,
            Ok(_) => false,
            Err(RecvTimeoutError::Timeout) => panic!("request {wanted} was not answered"),
            Err(RecvTimeoutError::Disconnected) => std::process::exit(1),
        };
        if is_last {
            return;
        }
    }
}

fn renumber(message: &mut ToWorker, number: RequestId) {
    match message {
        ToWorker::Open { request, .. }
        | ToWorker::Read { request, .. }
        | ToWorker::Page { request, .. }
        | ToWorker::Poll { request, .. }
        | ToWorker::Query { request, .. } => *request = number,
        _ => {}
    }
}

fn altered(attack: &mut Attack) -> Vec<String> {
    let (own, other) = (attack.token.clone(), attack.other.clone());
    let mut tokens = Vec::new();
    for at in 0..other.len() {
        let mut bytes = other.clone().into_bytes();
        let letter = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            [attack.random.random_range(0..64)];
        bytes[at] = if bytes[at] == letter { b'.' } else { letter };
        tokens.push(String::from_utf8(bytes).unwrap());
        tokens.push(other[..at].to_owned());
        if let Some(end) = own.get(at..) {
            tokens.push(other[..at].to_owned() + end);
        }
    }
    tokens.retain(|token| *token != own && *token != other);
    tokens
}

fn all_rows_of(table: &str) -> Ask {
    let collection = Name { text: table.to_owned(), span: Span::default() };
    let rows = Rows { collection, of: Of::All, filter: None, shown: Shown::Document };
    Ask::Page { rows, size: 1000 }
}
