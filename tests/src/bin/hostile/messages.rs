//! Harm by messages that are well formed, with any values in them.

use std::time::Duration;

use event_source_door::message::{Access, First, PageAsked, StartAt, ToWorker};
use event_source_model::position::{Cursor, Position};
use event_source_model::query::{
    Ask, Binary, Constant, EventSource, Function, Name, Of, Order, Rows, Shown, Span, Test,
};
use event_source_model::snapshot::Snapshot;
use event_source_model::source::Start;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _};

use crate::{Attack, keep_on};

const FOR: Duration = Duration::from_secs(5);

/// Any messages, for a while.
pub(crate) fn any(attack: &mut Attack) {
    attack.hello();
    let _answers = attack.listen();
    keep_on(FOR, || one(attack));
}

/// A few of them, and then the end.
pub(crate) fn end_anywhere(attack: &mut Attack) {
    attack.hello();
    let answers = attack.listen();
    for _ in 0..attack.random.random_range(0..300) {
        one(attack);
    }
    // Long enough that the next one is started at once.
    while answers.recv_timeout(Duration::from_millis(600)).is_ok() {}
    if attack.random.random() {
        attack.send(&[0, 0, 1]);
    }
    std::process::abort();
}

fn one(attack: &mut Attack) {
    let message = Any { attack }.message();
    attack.say(&message);
}

/// Draws messages.
struct Any<'a> {
    attack: &'a mut Attack,
}

impl Any<'_> {
    fn random(&mut self) -> &mut SmallRng {
        &mut self.attack.random
    }

    fn below(&mut self, end: usize) -> usize {
        self.random().random_range(0..end)
    }

    fn chance(&mut self) -> bool {
        self.random().random()
    }

    fn message(&mut self) -> ToWorker {
        let request = self.number();
        match self.below(16) {
            0 => ToWorker::Hello { protocol: self.number() as u32, version: self.text() },
            1..4 => ToWorker::Open {
                request,
                access: self.access(),
                start: self.start(),
                before_token: self.chance(),
                first: self.chance().then(|| First {
                    limit: self.number() as u32,
                    remembered: self.chance().then(|| self.number().cast_signed()),
                }),
            },
            4..6 => ToWorker::Read {
                request,
                grant: self.number(),
                from: self.position(),
                limit: self.number() as u32,
            },
            6 => ToWorker::More { request, limit: self.number() as u32 },
            7 => {
                let time_ms = self.chance().then(|| self.number() as u32);
                let page = PageAsked { size: self.number() as u32, time_ms };
                ToWorker::Page { request, access: self.access(), start: self.start(), page }
            }
            8 => {
                let count = self.below(50);
                ToWorker::Poll { request, grants: (0..count).map(|_| self.number()).collect() }
            }
            9..13 => ToWorker::Query {
                request,
                secret: self.chance().then(|| self.text()),
                ask: self.ask(3),
            },
            13 => ToWorker::Close { grant: self.number() },
            14 => ToWorker::Streams(self.number() as u32),
            _ => ToWorker::Confined { landlock: self.chance(), seccomp: self.chance() },
        }
    }

    /// Small ones are of something that is there.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0..4 => self.random().random_range(0..20),
            4 => u64::MAX - self.random().random_range(0..2),
            5 => 1 << self.random().random_range(0..64),
            6 => (1_u64 << 63) - 1,
            _ => self.random().random(),
        }
    }

    fn text(&mut self) -> String {
        match self.below(12) {
            0 => String::new(),
            1 => "open_t".to_owned(),
            2 => "secret_t".to_owned(),
            3 => "open_t_pkey".to_owned(),
            4 => "id".to_owned(),
            5 => "\0".to_owned(),
            6 => "'\"\\$1; --".to_owned(),
            7 => "é\u{202e}\u{10ffff}".to_owned(),
            8 => "x".repeat(self.below(1 << 16)),
            9 => self.number().to_string(),
            10 => self.attack.token.clone(),
            _ => {
                let mut bytes = [0; 12];
                self.random().fill_bytes(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }

    fn access(&mut self) -> Access {
        let token = if self.below(4) > 0 { self.attack.token.clone() } else { self.text() };
        let secret = (self.below(4) == 0).then(|| self.text());
        Access { token, secret }
    }

    fn start(&mut self) -> StartAt {
        match self.below(6) {
            0 | 1 => StartAt::Token,
            2 => StartAt::Snapshot,
            3 => StartAt::Timestamp(self.number().cast_signed()),
            4 => StartAt::Cursor(self.text()),
            _ => {
                let cursor = Cursor { history: self.number(), position: self.position() };
                StartAt::Cursor(cursor.encode())
            }
        }
    }

    fn position(&mut self) -> Position {
        let bytes = self.text().into_bytes();
        Position {
            txn_ts: self.number().cast_signed(),
            ordinal: self.number() as u32,
            within: self.chance().then_some(bytes),
            skipping: self.chance().then(|| self.number()),
            fingerprint: self.number(),
            snapshot: self.chance().then(|| {
                let count = self.below(4);
                let seen = (0..count).map(|_| self.number().cast_signed()).collect();
                let saw = Start { closed: self.number().cast_signed(), seen };
                let behind = self.chance().then(|| (0..count).map(|_| self.text()).collect());
                Box::new(Snapshot { behind, saw })
            }),
        }
    }

    fn span(&mut self) -> Span {
        Span { start: self.number() as u32, end: self.number() as u32 }
    }

    fn name(&mut self) -> Name {
        Name { text: self.text(), span: self.span() }
    }

    fn ask(&mut self, depth: usize) -> Ask {
        let number = self.number() as u32;
        match self.below(if depth == 0 { 8 } else { 10 }) {
            0 => Ask::Constant(self.constant(2)),
            1 | 2 => Ask::Page { rows: self.rows(), size: number },
            3 => {
                let order = Order { column: self.name(), descending: self.chance() };
                let (rows, limit) = (self.rows(), self.chance().then_some(number));
                Ask::Sorted { rows, order: vec![order], skip: self.number(), limit }
            }
            4 => Ask::Next { cursor: self.text(), size: Some(number), span: self.span() },
            5 => Ask::Row(self.rows()),
            6 => Ask::Version { rows: self.rows(), at: Some(self.number().cast_signed()) },
            7 => {
                let mut source = EventSource::of(self.rows(), self.span());
                source.watch = self.chance().then(|| vec![self.name()]);
                source.lasts = self.chance();
                Ask::EventSource(source)
            }
            8 => Ask::Array((0..self.below(5)).map(|_| self.ask(depth - 1)).collect()),
            _ => {
                let count = self.below(5);
                Ask::Object((0..count).map(|_| (self.text(), self.ask(depth - 1))).collect())
            }
        }
    }

    fn rows(&mut self) -> Rows {
        let terms = |any: &mut Self| (0..any.below(3)).map(|_| any.constant(1)).collect();
        let of = match self.below(5) {
            0 => Of::All,
            1 => Of::Index { index: self.name(), terms: terms(self) },
            2 => Of::Named { index: self.name(), terms: terms(self) },
            _ => Of::Key { key: self.constant(1), span: self.span() },
        };
        let shown = match self.below(4) {
            0 => Shown::Object(vec![(self.text(), self.name())]),
            1 => Shown::Value(self.name()),
            2 => Shown::Covered,
            _ => Shown::Document,
        };
        let filter = self.chance().then(|| self.test(3));
        let mut collection = self.name();
        if self.chance() {
            "open_t".clone_into(&mut collection.text);
        }
        Rows { collection, of, filter, shown }
    }

    fn test(&mut self, depth: usize) -> Test {
        let inner = |any: &mut Self| Box::new(any.test(depth - 1));
        match self.below(if depth == 0 { 2 } else { 7 }) {
            0 => Test::Column(self.name()),
            1 => Test::Constant(self.constant(1), self.span()),
            2 => Test::Not(inner(self)),
            3 => Test::Minus(inner(self)),
            4 => {
                let by = [Binary::Or, Binary::Equal, Binary::Less, Binary::Divide, Binary::Modulo]
                    [self.below(5)];
                Test::Binary(by, inner(self), inner(self))
            }
            5 => {
                let constants = (0..self.below(4)).map(|_| self.constant(1)).collect();
                Test::In(inner(self), constants, self.span())
            }
            _ => {
                let function =
                    [Function::IncludesRegex, Function::Like, Function::ReplaceAll][self.below(3)];
                let operands = (0..self.below(4)).map(|_| self.test(depth - 1)).collect();
                Test::Call(function, operands, self.span())
            }
        }
    }

    fn constant(&mut self, depth: usize) -> Constant {
        let text = self.text();
        match self.below(if depth == 0 { 10 } else { 12 }) {
            0 => Constant::Null,
            1 => Constant::Bool(self.chance()),
            2 => Constant::Number(text),
            3 => Constant::NotFinite(text),
            4 => Constant::Text(text),
            5 => Constant::Time(text),
            6 => Constant::Date(text),
            7 => Constant::Bytes(text.into_bytes()),
            8 => Constant::Uuid(text),
            9 => Constant::Token(text),
            10 => Constant::Array((0..self.below(4)).map(|_| self.constant(depth - 1)).collect()),
            _ => Constant::Object(vec![(text, self.constant(depth - 1))]),
        }
    }
}
