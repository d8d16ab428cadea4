//! The definitions that are evaluated for open streams.
//!
//! Equal definitions are one source, evaluated and rendered once for all their streams. A source
//! without streams lingers for a while, so that a client that reconnects finds the server's memory
//! of the tail already matched.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use event_source_door::message::{GrantId, SourceId};
use event_source_model::source::{Definition, Source};

use super::grants::{Grants, Held};
use super::of_roles::OfRoles;
use super::review::Round;
use super::rights::{self, Epoch};
use crate::cage;
use crate::error::{Error, Kind, Result};
use crate::matching::Matcher;
use crate::settings;
use crate::source::{self, Calls, Credential};

/// How long a source without streams is kept.
const LINGER: Duration = Duration::from_secs(60);
/// More than this without streams are let go at once.
const MOST_LINGERING: usize = 20_000;

/// All sources of a worker.
#[derive(Debug)]
pub struct Sources {
    pub matcher: Matcher,
    pub(super) grants: Grants,
    /// When all rights were looked at.
    pub(super) settled: Epoch,
    pub(super) round: Option<Round>,
    ids: HashMap<Definition, SourceId>,
    of_roles: OfRoles,
    pub(super) by_id: HashMap<SourceId, Registered>,
    next: SourceId,
    /// Of all sources.
    streams: u64,
}

/// One source.
#[derive(Debug)]
pub struct Registered {
    pub definition: Definition,
    /// What its filter calls.
    pub(super) calls: Calls,
    /// Every tail above this was matched against it.
    pub matched_since: i64,
    streams: u32,
    idle_since: Instant,
    /// When the rights of its own role were looked at.
    pub(super) checked: Epoch,
    /// When these and all its grants were.
    pub(super) reviewed: Epoch,
}

impl Sources {
    pub fn new() -> Self {
        Self {
            matcher: Matcher::new(),
            grants: Grants::new(),
            settled: Epoch::NEVER,
            round: None,
            ids: HashMap::new(),
            of_roles: OfRoles::default(),
            by_id: HashMap::new(),
            // 0 is left for "none".
            next: 1,
            streams: 0,
        }
    }

    /// Registers one more stream of a source, by a token that this key signed and a credential that were
    /// found good at that epoch. Called in a transaction, when everything up to `published` has been sent.
    pub fn open(
        &mut self,
        (opened, key): (&Source, u32),
        credential: Option<Credential>,
        checked: Epoch,
        published: i64,
    ) -> Result<(SourceId, GrantId)> {
        let definition = &opened.definition;
        let mut checked = checked;
        if self.watch(definition)? {
            // What changed before its changes counted was not noticed.
            checked = Epoch::NEVER;
        }
        let id = match self.ids.get(definition) {
            Some(&id) => id,
            None => {
                self.make_room(definition)?;
                let id = self.next;
                self.matcher.add(id, definition)?;
                let calls = match cage::run(|| source::calls(definition)) {
                    Ok(calls) => calls,
                    Err(error) => {
                        self.matcher.remove(id);
                        return Err(error);
                    }
                };
                if rights::watch_code(calls.places()) {
                    checked = Epoch::NEVER;
                }
                self.of_roles.add(definition);
                self.next += 1;
                self.ids.insert(definition.clone(), id);
                let registered = Registered {
                    definition: definition.clone(),
                    calls,
                    matched_since: published,
                    streams: 0,
                    idle_since: Instant::now(),
                    checked,
                    reviewed: checked,
                };
                self.by_id.insert(id, registered);
                id
            }
        };
        let source = self.by_id.get_mut(&id).expect("registered above, or before");
        source.streams += 1;
        self.streams += 1;
        if source.reviewed != checked {
            source.reviewed = Epoch::NEVER;
        }
        if self.settled != checked {
            self.settled = Epoch::NEVER;
            self.spoil_round();
        }
        let held = Held { source: id, token: (opened.id, key), credential };
        Ok((id, self.grants.open(held, checked)))
    }

    /// From here on counts what may take the right to read a source; whether some of it did not before.
    fn watch(&self, definition: &Definition) -> Result<bool> {
        let credentials = rights::watch_credentials(source::credential_tables()?);
        let known = self.ids.contains_key(definition);
        let table = if known { None } else { source::relation_of(definition.collection)? };
        Ok(table.is_some_and(rights::watch_table) || credentials)
    }

    /// Lets go of sources of the role that nobody reads, where it has no room for another one.
    fn make_room(&mut self, definition: &Definition) -> Result<()> {
        if self.of_roles.have_room(definition).is_ok() {
            return Ok(());
        }
        let role = definition.role.oid;
        let idle = |(_, source): &(&SourceId, &Registered)| {
            source.streams == 0 && source.definition.role.oid == role
        };
        let idle: Vec<SourceId> = self.by_id.iter().filter(idle).map(|(&id, _)| id).collect();
        idle.into_iter().for_each(|id| self.end(id));
        self.of_roles.have_room(definition)
    }

    /// Whether there is room for one more stream. The server keeps to its limit by itself, and follows no more than as many
    /// again for feeds that are polled; one that somebody has taken over need not.
    ///
    /// # Errors
    /// There is none.
    pub fn check_room(&self) -> Result<()> {
        if self.streams < 2 * u64::from(settings::max_streams()) {
            return Ok(());
        }
        Err(Error::new(Kind::LimitExceeded, "too many streams")
            .hint("event_source.max_streams limits them; try again later"))
    }

    /// Whether there is nothing to match a change against.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether anybody waits for what is committed.
    pub fn are_followed(&self) -> bool {
        self.streams > 0
    }

    /// One stream less.
    pub fn close(&mut self, grant: GrantId) {
        if let Some(id) = self.grants.close(grant) {
            self.leave(id, 1);
        }
    }

    pub(super) fn leave(&mut self, id: SourceId, streams: u32) {
        if let Some(source) = self.by_id.get_mut(&id) {
            let streams = streams.min(source.streams);
            self.streams -= u64::from(streams);
            source.streams -= streams;
            source.idle_since = Instant::now();
        }
    }

    /// The source ended for good.
    pub fn end(&mut self, id: SourceId) {
        self.grants.remove_all(id);
        if let Some(source) = self.by_id.remove(&id) {
            self.streams -= u64::from(source.streams);
            self.ids.remove(&source.definition);
            self.of_roles.remove(&source.definition);
            self.matcher.remove(id);
        }
    }

    pub fn get(&self, id: SourceId) -> Option<&Registered> {
        self.by_id.get(&id)
    }

    /// The source that a stream reads.
    pub fn of(&self, grant: GrantId) -> Option<SourceId> {
        self.grants.source(grant)
    }

    /// The role as which a stream's source is evaluated.
    pub fn role_of(&self, grant: GrantId) -> Option<u32> {
        Some(self.get(self.of(grant)?)?.definition.role.oid)
    }

    pub fn ids(&self) -> impl Iterator<Item = SourceId> {
        self.by_id.keys().copied()
    }

    /// Lets go of sources that had no stream for a while.
    pub fn sweep(&mut self) {
        let idle: Vec<(SourceId, Instant)> = self
            .by_id
            .iter()
            .filter(|(_, s)| s.streams == 0)
            .map(|(&id, s)| (id, s.idle_since))
            .collect();
        let crowded = idle.len() > MOST_LINGERING;
        for (id, since) in idle {
            if crowded || since.elapsed() > LINGER {
                self.end(id);
            }
        }
    }
}
