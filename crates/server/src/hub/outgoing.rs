//! What waits to be written to the worker.
//!
//! The worker does one thing at a time. Requests of one class, which is a credential or all those who give none, are
//! sent a few at a time, and the classes in turn: what one asks, however much that is, is in nobody else's way. What
//! nobody waits for any more is not sent. Protected by the hub's lock.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use event_source_door::message::{Access, RequestId, ToWorker};

/// Requests of a class that the worker has at a time, and how heavy they are together unless it is a single one.
const OF_CLASS: usize = 64;
const WEIGHT_OF_CLASS: usize = 1 << 20;
/// Requests that it has at a time: the worker takes more.
const OF_ALL: usize = 2048;

/// Those whose requests are done one after the other.
pub(super) type Class = u64;

/// The class of those who give no credential.
const NOBODY: Class = 0;

/// The class of a token and the credential beside it, which goes before.
pub(super) fn class_of(access: &Access) -> Class {
    class_of_secret(Some(access.secret.as_deref().unwrap_or(&access.token)))
}

/// The class of a credential.
pub(super) fn class_of_secret(secret: Option<&str>) -> Class {
    let hash = |secret| BuildHasherDefault::<DefaultHasher>::new().hash_one(secret);
    secret.map_or(NOBODY, hash)
}

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// What wants no answer; sent at once.
    told: Vec<ToWorker>,
    classes: HashMap<Class, Waiting>,
    /// The classes of which something may be sent, each once, in turn.
    turns: VecDeque<Class>,
    /// What the worker has not answered yet.
    asked: HashMap<RequestId, (Class, usize)>,
}

/// What is asked by a class.
#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<(RequestId, ToWorker, usize)>,
    /// The worker has so many, of this weight.
    asked: usize,
    weight: usize,
    has_turn: bool,
}

impl Waiting {
    fn may_ask(&self) -> bool {
        let fits = |(_, _, weight): &(_, _, usize)| {
            self.asked == 0 || (self.asked < OF_CLASS && self.weight + weight <= WEIGHT_OF_CLASS)
        };
        self.requests.front().is_some_and(fits)
    }
}

impl Outgoing {
    /// Sends what wants no answer, or one that nobody else's has to wait for.
    pub(super) fn tell(&mut self, message: ToWorker) {
        self.told.push(message);
    }

    /// Forgets what was told and not sent.
    pub(super) fn take_back(&mut self, is_meant: impl Fn(&ToWorker) -> bool) {
        self.told.retain(|message| !is_meant(message));
    }

    /// Sends a request when it is its turn. The weight is about its bytes.
    pub(super) fn ask(
        &mut self,
        class: Class,
        request: RequestId,
        message: ToWorker,
        weight: usize,
    ) {
        let waiting = self.classes.entry(class).or_default();
        waiting.requests.push_back((request, message, weight));
        self.may_go_on(class);
    }

    /// How many requests of a class wait for their turn.
    pub(super) fn waiting(&self, class: Class) -> usize {
        self.classes.get(&class).map_or(0, |waiting| waiting.requests.len())
    }

    /// The worker has answered a request to the end.
    pub(super) fn is_answered(&mut self, request: RequestId) {
        let Some((class, weight)) = self.asked.remove(&request) else { return };
        if let Entry::Occupied(mut entry) = self.classes.entry(class) {
            let waiting = entry.get_mut();
            waiting.asked -= 1;
            waiting.weight -= weight;
            if waiting.asked == 0 && waiting.requests.is_empty() {
                entry.remove();
            }
        }
        self.may_go_on(class);
    }

    fn may_go_on(&mut self, class: Class) {
        let Some(waiting) = self.classes.get_mut(&class) else { return };
        if !waiting.has_turn && waiting.may_ask() {
            waiting.has_turn = true;
            self.turns.push_back(class);
        }
    }

    /// Whether something is to be sent now.
    pub(super) fn is_due(&self) -> bool {
        !self.told.is_empty() || (!self.turns.is_empty() && self.asked.len() < OF_ALL)
    }

    /// What is to be sent now, but for requests that are not wanted any more.
    pub(super) fn take(&mut self, mut is_wanted: impl FnMut(RequestId) -> bool) -> Vec<ToWorker> {
        let mut messages = std::mem::take(&mut self.told);
        while self.asked.len() < OF_ALL
            && let Some(class) = self.turns.pop_front()
        {
            let Some(waiting) = self.classes.get_mut(&class) else { continue };
            waiting.has_turn = false;
            let mut next = None;
            while waiting.may_ask()
                && let Some((request, message, weight)) = waiting.requests.pop_front()
            {
                if is_wanted(request) {
                    next = Some((request, message, weight));
                    break;
                }
            }
            if let Some((request, message, weight)) = next {
                waiting.asked += 1;
                waiting.weight += weight;
                self.asked.insert(request, (class, weight));
                messages.push(message);
            }
            if waiting.asked == 0 && waiting.requests.is_empty() {
                self.classes.remove(&class);
            }
            self.may_go_on(class);
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(grant: u64) -> ToWorker {
        ToWorker::Close { grant }
    }

    fn numbers(messages: &[ToWorker]) -> Vec<u64> {
        let number = |message: &ToWorker| match message {
            ToWorker::Close { grant } => *grant,
            other => panic!("{other:?}"),
        };
        messages.iter().map(number).collect()
    }

    #[test]
    fn classes_are_sent_in_turn_and_a_few_of_each_at_a_time() {
        let mut outgoing = Outgoing::default();
        for request in 0..1000 {
            outgoing.ask(NOBODY, request, message(request), 10);
        }
        outgoing.ask(7, 2000, message(2000), 10);
        let sent = numbers(&outgoing.take(|_| true));
        assert_eq!(sent.len(), OF_CLASS + 1);
        assert!(sent[..2].contains(&2000), "{sent:?}");
        assert!(!outgoing.is_due());
        outgoing.is_answered(sent[0]);
        assert_eq!(outgoing.take(|_| true).len(), 1);
    }

    #[test]
    fn heavy_requests_go_alone_and_those_that_nobody_waits_for_not_at_all() {
        let mut outgoing = Outgoing::default();
        for request in 0..10 {
            outgoing.ask(NOBODY, request, message(request), 4 << 20);
        }
        assert_eq!(numbers(&outgoing.take(|_| true)), [0]);
        outgoing.is_answered(0);
        assert_eq!(numbers(&outgoing.take(|request| request > 5)), [6]);
        outgoing.is_answered(6);
        assert!(outgoing.take(|_| false).is_empty());
        assert!(outgoing.classes.is_empty() && outgoing.turns.is_empty(), "{outgoing:?}");
    }

    #[test]
    fn the_worker_is_never_asked_more_than_it_takes() {
        let mut outgoing = Outgoing::default();
        for request in 0..10_000 {
            outgoing.ask(request, request, message(request), 10);
        }
        let sent = numbers(&outgoing.take(|_| true));
        assert_eq!(sent.len(), OF_ALL);
        sent.into_iter().for_each(|request| outgoing.is_answered(request));
        assert_eq!(outgoing.take(|_| true).len(), OF_ALL);
    }
}
