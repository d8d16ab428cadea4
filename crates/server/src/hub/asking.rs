//! What is asked of the worker, and when: in the turn of whoever asks, and when there is room for what comes.
//!
//! Protected by the hub's lock.

use std::time::Instant;

use event_source_door::message::{Access, First, PageAsked, RequestId, StartAt, ToWorker};
use event_source_model::query::Ask;

use super::outgoing::{self, Class};
use super::state::{Parts, Pending, State};
use super::stream::{Phase, StreamId};
use crate::budget::{Account, Purse};

/// About the bytes of a request that says little.
const READ: usize = 100;

impl State {
    /// Asks the worker for a stream. What it begins with is read at once if its connection has room and a turn.
    pub(super) fn open(
        &mut self,
        access: Access,
        start: StartAt,
        before_token: bool,
        limit: Option<u32>,
        pending: Pending,
    ) {
        let class = outgoing::class_of(&access);
        let limit = match &pending {
            Pending::Open { has_turn, .. } => limit.filter(|_| *has_turn),
            _ => limit,
        };
        let request = self.number(pending);
        let first = limit.map(|limit| First { limit, remembered: self.memory.since() });
        let weight = weight_of(&access, &start);
        let message = ToWorker::Open { request, access, start, before_token, first };
        self.outgoing.ask(class, request, message, weight);
    }

    /// A turn to be read from the log at once, for a stream that begins.
    pub(super) fn begin_turn(&mut self, account: &Account) -> bool {
        account.has_room() && self.turns.begin(account.id())
    }

    /// What a role or a credential holds.
    pub(super) fn owner(&mut self, class: Class) -> Account {
        self.owners.of(class, &self.budget)
    }

    /// Asks the worker for a page.
    pub(super) fn page(
        &mut self,
        access: Access,
        start: StartAt,
        page: PageAsked,
        parts: Parts,
        purse: Purse,
    ) {
        let class = outgoing::class_of(&access);
        let request = self.number(Pending::Page { access: access.clone(), parts, purse });
        let weight = weight_of(&access, &start);
        self.outgoing.ask(class, request, ToWorker::Page { request, access, start, page }, weight);
    }

    /// Asks the worker for the answer to a query of that weight.
    pub(super) fn query(
        &mut self,
        secret: Option<String>,
        ask: Ask,
        pending: Pending,
        weight: usize,
    ) {
        let class = outgoing::class_of_secret(secret.as_deref());
        let request = self.number(pending);
        self.outgoing.ask(class, request, ToWorker::Query { request, secret, ask }, weight);
    }

    /// What is to be written to the worker now.
    pub(super) fn take_for_worker(&mut self) -> Vec<ToWorker> {
        let Self { outgoing, pending, reads, turns, .. } = self;
        outgoing.take(|request| match pending.get(&request) {
            Some(waits) if waits.is_wanted() => true,
            Some(_) => {
                if let Some(Pending::Open { account, has_turn: true, .. }) =
                    pending.remove(&request)
                {
                    turns.end(account.id());
                }
                false
            }
            None => reads.contains_key(&request),
        })
    }

    /// Asks the worker for the next piece of the log that a stream needs: once it is its turn and there is room for
    /// what comes.
    pub(super) fn read(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.enter(Phase::Full, self.looked_at.get(&stream.collection));
        let connection = stream.queue.account();
        let has_room = connection.has_room() && stream.owner.has_room_for(stream.needs);
        if !has_room || !self.turns.begin(connection.id()) {
            return self.wait_for_turn(id);
        }
        let (grant, from, limit) = (stream.grant, stream.position.clone(), stream.batch);
        let class = stream.class;
        let request = self.next_request();
        self.is_read(id, request);
        self.outgoing.ask(class, request, ToWorker::Read { request, grant, from, limit }, READ);
    }

    /// A stream goes on once there is room on its connection and it is its turn.
    pub(super) fn wait_for_turn(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.waits.is_none() {
            stream.waits = Some(Instant::now());
            self.turns.wait(stream.queue.account().id(), id);
        }
    }

    /// The worker reads for a stream, and answers by that number.
    pub(super) fn is_read(&mut self, id: StreamId, request: RequestId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let phase = Phase::Reading { request, left: stream.batch };
        stream.enter(phase, self.looked_at.get(&stream.collection));
        self.reads.insert(request, id);
    }

    /// A read is over: others of the connection may begin.
    pub(super) fn read_is_over(&mut self, request: RequestId) -> Option<StreamId> {
        let id = self.reads.remove(&request)?;
        if let Some(stream) = self.streams.get(id) {
            self.turns.end(stream.queue.account().id());
        }
        Some(id)
    }

    /// Begins to read for those who wait for their turn where one may be free. To be called last, whatever was done.
    pub(super) fn go_on(&mut self) {
        while let Some(account) = self.freed.pop() {
            self.next_turns(&account);
        }
    }

    fn next_turns(&mut self, account: &Account) {
        let mut again = Vec::new();
        while account.has_room()
            && let Some(id) = self.turns.next(account.id())
        {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            let since = stream.waits.take();
            if stream.phase == Phase::Full && stream.queue.has_room() {
                if stream.owner.has_room_for(stream.needs) {
                    self.catch_up(id);
                } else {
                    // Waits for others of its role.
                    stream.waits = since;
                    again.push(id);
                }
            }
        }
        again.into_iter().for_each(|id| self.turns.wait(account.id(), id));
    }

    /// Has the worker read on behind the batch that it is at, for a stream that is taken as fast as it comes:
    /// the worker would else wait until all of the batch is rendered and nearly all of it taken.
    pub(super) fn read_ahead(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let Phase::Reading { request, left } = &mut stream.phase else { return };
        let is_of_log = stream.position.rows_behind().is_none();
        let has_room = stream.queue.has_room() && stream.queue.account().has_room();
        if is_of_log && *left < stream.batch && has_room {
            *left += stream.batch;
            let more = ToWorker::More { request: *request, limit: stream.batch };
            self.outgoing.tell(more);
        }
    }
}

/// About the bytes of a request for a stream or a page.
fn weight_of(access: &Access, start: &StartAt) -> usize {
    let start = if let StartAt::Cursor(cursor) = start { cursor.len() } else { 0 };
    READ + access.token.len() + access.secret.as_ref().map_or(0, String::len) + start
}
