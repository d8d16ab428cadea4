//! What the open streams were opened by: a token, and the credential beside it.
//!
//! Two streams of equal definitions share a source and still may be lost one by one: each has its own
//! token, which may be revoked. Streams that were opened by the same are one grant, looked at once.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use event_source_door::message::{GrantId, SourceId};
use event_source_model::source::Definition;

use super::rights::Epoch;
use crate::error::{Error, Kind, Result};
use crate::settings;
use crate::source::{self, Credential};

/// All grants of a worker.
#[derive(Debug)]
pub(super) struct Grants {
    ids: HashMap<Rc<Held>, GrantId>,
    by_id: HashMap<GrantId, Grant>,
    of: HashMap<SourceId, BTreeSet<GrantId>>,
    next: GrantId,
}

/// What a stream was opened by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) source: SourceId,
    /// The token's id, and that of the key that signed it.
    pub(super) token: (u64, u32),
    pub(super) credential: Option<Credential>,
}

#[derive(Debug)]
struct Grant {
    held: Rc<Held>,
    streams: u32,
    checked: Epoch,
}

impl Grants {
    pub(super) fn new() -> Self {
        // 0 is left for "none".
        Self { ids: HashMap::new(), by_id: HashMap::new(), of: HashMap::new(), next: 1 }
    }

    /// One more stream, by what was found good at that epoch.
    pub(super) fn open(&mut self, held: Held, checked: Epoch) -> GrantId {
        if let Some(&id) = self.ids.get(&held) {
            self.by_id.get_mut(&id).expect("both maps hold the same grants").streams += 1;
            return id;
        }
        let (id, held) = (self.next, Rc::new(held));
        self.next += 1;
        self.ids.insert(Rc::clone(&held), id);
        self.of.entry(held.source).or_default().insert(id);
        self.by_id.insert(id, Grant { held, streams: 1, checked });
        id
    }

    /// One stream less; of which source. A grant that was lost is not there any more.
    pub(super) fn close(&mut self, id: GrantId) -> Option<SourceId> {
        let grant = self.by_id.get_mut(&id)?;
        let source = grant.held.source;
        grant.streams -= 1;
        if grant.streams == 0 {
            self.remove(id);
        }
        Some(source)
    }

    pub(super) fn source(&self, id: GrantId) -> Option<SourceId> {
        self.by_id.get(&id).map(|grant| grant.held.source)
    }

    pub(super) fn checked(&self, id: GrantId) -> Option<Epoch> {
        self.by_id.get(&id).map(|grant| grant.checked)
    }

    /// Forgets a grant; of how many streams.
    pub(super) fn remove(&mut self, id: GrantId) -> u32 {
        let Some(grant) = self.by_id.remove(&id) else { return 0 };
        self.ids.remove(&grant.held);
        if let Some(ids) = self.of.get_mut(&grant.held.source) {
            ids.remove(&id);
            if ids.is_empty() {
                self.of.remove(&grant.held.source);
            }
        }
        grant.streams
    }

    /// Forgets all grants of a source.
    pub(super) fn remove_all(&mut self, source: SourceId) {
        for id in self.of(source) {
            self.remove(id);
        }
    }

    pub(super) fn of(&self, source: SourceId) -> Vec<GrantId> {
        self.of.get(&source).into_iter().flatten().copied().collect()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = GrantId> {
        self.by_id.keys().copied()
    }

    /// Whether what the streams were opened by is still good; looks only when something changed since
    /// the last time. In a transaction.
    ///
    /// # Errors
    /// Why it is not, and when that cannot be seen.
    pub(super) fn check(
        &mut self,
        id: GrantId,
        definition: &Definition,
        epoch: Epoch,
    ) -> Result<()> {
        let Some(grant) = self.by_id.get_mut(&id) else { return Ok(()) };
        let credential = grant.held.credential.as_ref();
        let same_credentials = grant.checked.credentials == epoch.credentials;
        // The rights of the token's own role are its source's.
        if !same_credentials || (credential.is_some() && grant.checked.catalogs != epoch.catalogs) {
            check_required(credential)?;
            source::check_still(grant.held.token, credential, definition)?;
        }
        grant.checked = epoch;
        Ok(())
    }
}

/// A token alone may not suffice.
pub(super) fn check_required(credential: Option<&Credential>) -> Result<()> {
    if settings::require_secret() && credential.is_none() {
        return Err(Error::new(Kind::Unauthorized, "a secret is required beside the token")
            .hint("give a secret from event_source.create_secret as Bearer"));
    }
    Ok(())
}
