//! Harm by bytes, floods and sockets.

use std::net::TcpListener;
use std::time::Duration;

use event_source_door::frame;
use event_source_door::message::{Access, PageAsked, StartAt, ToWorker};
use event_source_model::query::{Ask, Constant};
use rand::{Rng as _, RngExt as _};

use crate::{Attack, keep_on};

const FOR: Duration = Duration::from_secs(4);
/// More than any worker may hold of what was asked and is not answered.
const FLOOD: usize = 256 << 20;

/// A frame of 3 GB, and its bytes without end.
pub(crate) fn announce(attack: &mut Attack) {
    attack.hello();
    attack.send(&(3_u32 << 30).to_be_bytes());
    attack.flood(&[7; 1 << 16], 3 << 30);
}

pub(crate) fn stop_in_a_frame(attack: &mut Attack) {
    attack.hello();
    attack.send(&(1_u32 << 20).to_be_bytes());
    attack.send(&[0; 1000]);
}

pub(crate) fn random_bytes(attack: &mut Attack) {
    attack.hello();
    let mut bytes = [0; 1 << 12];
    keep_on(FOR, || {
        attack.random.fill_bytes(&mut bytes);
        attack.send(&bytes);
    });
}

/// Of the right length, with anything inside: most of them begin as some message does.
pub(crate) fn random_frames(attack: &mut Attack) {
    attack.hello();
    let mut body = vec![0; attack.random.random_range(1..2000)];
    attack.random.fill_bytes(&mut body);
    body[0] %= 12;
    attack.send(&framed(&body));
}

/// Queries that are nested deeper than any stack, each kind of nesting in its turn.
pub(crate) fn nest(attack: &mut Attack) {
    attack.hello();
    type Wrap = fn(Ask) -> Ask;
    let kinds: [Wrap; 3] = [
        |inner| Ask::Array(vec![inner]),
        |inner| Ask::Object(vec![("a".to_owned(), inner)]),
        |_| Ask::Constant(Constant::Array(vec![Constant::Array(vec![Constant::Null])])),
    ];
    let kind = kinds[attack.random.random_range(0..kinds.len())];
    let leaf = || Ask::Constant(Constant::Null);
    let (flat, once, twice) = (query(leaf()), query(kind(leaf())), query(kind(kind(leaf()))));
    // What one level adds to the bytes stands where the shallower ones begin to differ.
    let level = twice.len() - once.len();
    let bytes = if level == 0 {
        // A constant: its levels follow each other within it.
        let at = once.len() - 5;
        let (head, pair) = (&once[..at], &once[at..at + 2]);
        [head, &pair.repeat(2 << 20), &[0]].concat()
    } else {
        let at = flat.iter().zip(&once).take_while(|(a, b)| a == b).count();
        let (head, tail) = (&once[..at], &flat[at..]);
        [head, &once[at..at + level].repeat((4 << 20) / level), tail].concat()
    };
    attack.send(&framed(&bytes));
}

/// Opens and pages, as many as are taken, and not one answer is read.
pub(crate) fn never_read(attack: &mut Attack) {
    attack.hello();
    let mut bytes = Vec::new();
    for request in 0..200 {
        let access = Access { token: attack.token.clone(), secret: None };
        let message = if request % 2 == 0 {
            let start = StartAt::Token;
            ToWorker::Open { request, access, start, before_token: true, first: None }
        } else {
            let page = PageAsked { size: 16_000, time_ms: None };
            ToWorker::Page { request, access, start: StartAt::Timestamp(0), page }
        };
        frame::push(&mut bytes, &message).unwrap();
    }
    attack.flood(&bytes, FLOOD);
}

/// Messages of few bytes that take many times as much memory once they are read.
pub(crate) fn swell(attack: &mut Attack) {
    attack.hello();
    let mut bytes = Vec::new();
    let many = frame::MAX_REQUEST - 1000;
    frame::push(&mut bytes, &ToWorker::Poll { request: 1, grants: vec![1; many] }).unwrap();
    let nulls = Ask::Constant(Constant::Array(vec![Constant::Null; many]));
    frame::push(&mut bytes, &ToWorker::Query { request: 2, secret: None, ask: nulls }).unwrap();
    let empty = Ask::Array(vec![Ask::Array(Vec::new()); many / 2]);
    frame::push(&mut bytes, &ToWorker::Query { request: 3, secret: None, ask: empty }).unwrap();
    attack.flood(&bytes, FLOOD);
}

/// What the worker hears and does not answer.
pub(crate) fn unanswered(attack: &mut Attack) {
    attack.hello();
    let mut bytes = Vec::new();
    for number in 0..1000 {
        for message in [
            ToWorker::Pong,
            ToWorker::Streams(u32::MAX),
            ToWorker::Close { grant: number },
            ToWorker::More { request: number, limit: u32::MAX },
            ToWorker::Confined { landlock: true, seccomp: true },
        ] {
            frame::push(&mut bytes, &message).unwrap();
        }
    }
    // Small messages take the worker longer than their bytes.
    attack.flood(&bytes, FLOOD / 8);
}

/// Shuts the listening sockets down, which are the worker's as well.
pub(crate) fn end_sockets(attack: &mut Attack) {
    attack.hello();
    let mut inherited = listenfd::ListenFd::from_env();
    let listener: TcpListener = inherited.take_tcp_listener(0).unwrap().unwrap();
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
    std::process::exit(1);
}

fn query(ask: Ask) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push(&mut bytes, &ToWorker::Query { request: 1, secret: None, ask }).unwrap();
    bytes.split_off(4)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}
