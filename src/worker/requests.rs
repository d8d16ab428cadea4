//! What the server has asked and is not answered yet.
//!
//! It guarantees that nobody's requests wait for all of another's: they are done in turn, a task or a part of one at a
//! time for each role, each credential and all who give none together. And that what waits is bounded, however much a
//! server that went wrong may ask: above that nothing more is read of it. Runs in the worker.
//!
//! That more is wanted of a read is no task of its own: it concerns the task that reads, and nothing once
//! that has ended, when the server knows from its last part.

use std::collections::{HashMap, VecDeque};

use event_source_door::message::{Access, GrantId, RequestId, StartAt, ToWorker};
use event_source_model::bounds::{MOST, Scales};

use super::answer::Task;

/// More waiting than this, and nothing is read of the server. The server of this version never gets there.
const MOST_TASKS: usize = 4096;
const MOST_BYTES: usize = 64 << 20;
/// About the memory of a task, without its texts.
const TASK: usize = 512;
/// Decoded, a query takes so many times what it weighs.
const QUERY: usize = 4;

/// Those whose requests are done one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lane {
    /// Who reads as a role, by open streams.
    Role(u32),
    /// Who asks by a credential, or by a token alone.
    Credential(String),
    /// Who asks without.
    Nobody,
    /// Pages of feeds that are polled, all at once.
    Polls,
}

#[derive(Debug, Default)]
pub struct Requests {
    /// Not sorted into their lanes yet.
    came: VecDeque<(Task, usize)>,
    /// What takes no time and nobody waits for.
    told: VecDeque<Task>,
    lanes: HashMap<Lane, VecDeque<(Task, usize)>>,
    /// The lanes with something in them, each once, but for the one whose turn it was last.
    turns: VecDeque<Lane>,
    /// That one: whoever came meanwhile goes before it.
    served: Option<Lane>,
    tasks: usize,
    bytes: usize,
}

impl Requests {
    pub fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    /// Whether nothing more is to be read of the server.
    pub fn is_full(&self) -> bool {
        self.tasks >= MOST_TASKS || self.bytes >= MOST_BYTES
    }

    /// What is to be done next. A grant's role is asked for when it is its turn to be sorted: what it was opened by has
    /// been answered then.
    pub fn take(&mut self, role_of: impl Fn(GrantId) -> Option<u32>) -> Option<Task> {
        while let Some((task, bytes)) = self.came.pop_front() {
            self.sort(task, bytes, &role_of);
        }
        if let Some(lane) = self.served.take()
            && self.lanes.contains_key(&lane)
        {
            self.turns.push_back(lane);
        }
        if let Some(task) = self.told.pop_front() {
            self.tasks -= 1;
            self.bytes -= TASK;
            return Some(task);
        }
        let lane = self.turns.pop_front()?;
        let waiting = self.lanes.get_mut(&lane)?;
        let (task, bytes) = waiting.pop_front()?;
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        }
        self.served = Some(lane);
        self.tasks -= 1;
        self.bytes -= bytes;
        Some(task)
    }

    fn sort(&mut self, task: Task, bytes: usize, role_of: &impl Fn(GrantId) -> Option<u32>) {
        // One whose grant is gone is refused at once.
        let by_grant = |grant| Lane::Role(role_of(grant).unwrap_or_default());
        let by_access = |Access { token, secret }: &Access| {
            Lane::Credential(secret.as_ref().unwrap_or(token).clone())
        };
        let lane = match &task {
            Task::Asked(ToWorker::Open { access, .. } | ToWorker::Page { access, .. }) => {
                by_access(access)
            }
            Task::Asked(ToWorker::Query { secret: Some(secret), .. }) => {
                Lane::Credential(secret.clone())
            }
            Task::Asked(ToWorker::Query { secret: None, .. }) => Lane::Nobody,
            Task::Asked(ToWorker::Read { grant, .. }) => by_grant(*grant),
            Task::Batch(left) => by_grant(left.grant),
            Task::Page(left) => by_access(&left.access),
            Task::Asked(ToWorker::Poll { .. }) | Task::Poll(_) => Lane::Polls,
            Task::Asked(
                ToWorker::Hello { .. }
                | ToWorker::Streams(_)
                | ToWorker::Confined { .. }
                | ToWorker::Pong
                | ToWorker::More { .. }
                | ToWorker::Close { .. },
            ) => return self.told.push_back(task),
        };
        let is_served = self.served.as_ref() == Some(&lane);
        let waiting = self.lanes.entry(lane.clone()).or_default();
        if waiting.is_empty() && !is_served {
            self.turns.push_back(lane);
        }
        waiting.push_back((task, bytes));
    }

    /// A read goes on behind its end.
    fn goes_on(&mut self, request: RequestId, more: u32) {
        for (task, _) in self.lanes.values_mut().flatten().chain(&mut self.came) {
            match task {
                Task::Batch(left) if left.request == request => {
                    left.limits = left.limits.and_of_batch(more);
                }
                Task::Asked(ToWorker::Read { request: read, limit: all, .. })
                    if *read == request =>
                {
                    *all = all.saturating_add(more);
                }
                _ => {}
            }
        }
    }
}

/// About the memory that it takes.
fn bytes_of(task: &Task) -> usize {
    let access = |Access { token, secret }: &Access| {
        2 * token.len() + 2 * secret.as_ref().map_or(0, String::len)
    };
    let start = |start: &StartAt| if let StartAt::Cursor(text) = start { text.len() } else { 0 };
    let texts = match task {
        Task::Asked(ToWorker::Open { access: by, start: from, .. }) => access(by) + start(from),
        Task::Asked(ToWorker::Page { access: by, start: from, .. }) => access(by) + start(from),
        Task::Asked(ToWorker::Query { secret, ask, .. }) => {
            // One that is too heavy is refused when it is its turn.
            let weight = Scales::weigh(ask).unwrap_or(MOST);
            2 * secret.as_ref().map_or(0, String::len) + QUERY * weight
        }
        Task::Asked(ToWorker::Poll { grants, .. }) => size_of_val(grants.as_slice()),
        _ => 0,
    };
    TASK + texts
}

impl Extend<Task> for Requests {
    fn extend<T: IntoIterator<Item = Task>>(&mut self, tasks: T) {
        for task in tasks {
            if let Task::Asked(ToWorker::More { request, limit }) = task {
                self.goes_on(request, limit);
                continue;
            }
            let bytes = bytes_of(&task);
            self.tasks += 1;
            self.bytes += bytes;
            self.came.push_back((task, bytes));
        }
    }
}
