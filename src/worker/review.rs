//! Looking again at the rights by which sources and their streams are read.
//!
//! **Invariant.** Nothing is sent for a source before [`Sources::review`] has looked, at the epoch of that
//! moment, at the rights by which it and all its streams are read. Those of quiet streams are looked at in
//! rounds, a part at a time. What has lost its right is gone then, and the server is told.

use event_source_door::message::{GrantId, SourceId, ToServer};

use super::rights::{self, Epoch};
use super::sources::{Registered, Sources};
use crate::cage;
use crate::error::{Error, Kind, Result};
use crate::source;

/// A look at everything, a part at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    began: Epoch,
    /// A part was looked at in vain, or came since without having been.
    spoilt: bool,
}

/// What is looked at in one go.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Source(SourceId),
    Grant(GrantId),
}

impl Sources {
    /// Whether nothing changed since all rights were looked at.
    pub fn are_settled(&self) -> bool {
        self.settled == rights::epoch()
    }

    /// Begins a look at everything: what there is to look at.
    pub fn begin_round(&mut self) -> Vec<Part> {
        self.round = Some(Round { began: rights::epoch(), spoilt: false });
        self.ids().map(Part::Source).chain(self.grants.ids().map(Part::Grant)).collect()
    }

    pub fn are_in_round(&self) -> bool {
        self.round.is_some()
    }

    /// Something was looked at in vain: there must be another round.
    pub fn spoil_round(&mut self) {
        if let Some(round) = &mut self.round {
            round.spoilt = true;
        }
    }

    /// Everything was looked at.
    pub fn end_round(&mut self) {
        if let Some(round) = self.round.take().filter(|round| !round.spoilt) {
            self.settled = round.began;
        }
    }

    /// Looks at the rights by which a source is read, unless nothing changed since that was done. What
    /// lost them is gone, and `out` tells of it. In a transaction.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub fn review(&mut self, id: SourceId, out: &mut Vec<ToServer>) -> Result<()> {
        let epoch = rights::epoch();
        if self.settled == epoch || self.by_id.get(&id).is_none_or(|s| s.reviewed == epoch) {
            return Ok(());
        }
        self.look_at(Part::Source(id), out)?;
        for grant in self.grants.of(id) {
            self.look_at(Part::Grant(grant), out)?;
        }
        if let Some(source) = self.by_id.get_mut(&id) {
            source.reviewed = epoch;
        }
        Ok(())
    }

    /// Whether something changed since a part was looked at.
    pub fn is_due(&self, part: Part) -> bool {
        let checked = match part {
            Part::Source(id) => self.by_id.get(&id).map(|source| source.checked),
            Part::Grant(id) => self.grants.checked(id),
        };
        checked.is_some_and(|checked| checked != rights::epoch())
    }

    /// As [`Self::review`], of a part alone.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub fn look_at(&mut self, part: Part, out: &mut Vec<ToServer>) -> Result<()> {
        match part {
            Part::Source(id) => self.look_at_source(id, out),
            Part::Grant(id) => self.look_at_grant(id, out),
        }
    }

    fn look_at_source(&mut self, source: SourceId, out: &mut Vec<ToServer>) -> Result<()> {
        let epoch = rights::epoch();
        let Some(registered) = self.by_id.get_mut(&source) else { return Ok(()) };
        let is_as_it_was =
            registered.checked.catalogs == epoch.catalogs && registered.checked.code == epoch.code;
        if !is_as_it_was && let Some(error) = refusal(registered.check(epoch))? {
            self.end(source);
            out.push(ToServer::Ended { source, refusal: error.into() });
            return Ok(());
        }
        registered.checked = epoch;
        Ok(())
    }

    fn look_at_grant(&mut self, grant: GrantId, out: &mut Vec<ToServer>) -> Result<()> {
        let epoch = rights::epoch();
        let Some(source) = self.grants.source(grant) else { return Ok(()) };
        let definition = &self.by_id.get(&source).expect("a grant's source is there").definition;
        if let Some(error) = refusal(self.grants.check(grant, definition, epoch))? {
            let streams = self.grants.remove(grant);
            self.leave(source, streams);
            out.push(ToServer::Lost { grant, refusal: error.into() });
        }
        Ok(())
    }
}

impl Registered {
    /// Whether its role may still have it. What its filter calls is only looked up, unless some of that changed.
    fn check(&mut self, epoch: Epoch) -> Result<()> {
        source::check(&self.definition)?;
        if self.checked.code != epoch.code {
            self.calls = cage::run(|| source::calls(&self.definition))?;
        }
        self.calls.check(source::role(&self.definition.role)?)
    }
}

/// Why the right is gone, if it is. A look that failed says nothing about that.
fn refusal(checked: Result<()>) -> Result<Option<Error>> {
    match checked {
        Ok(()) => Ok(None),
        Err(error) if error.kind == Kind::Corrupted => Err(error),
        Err(error) => Ok(Some(error)),
    }
}
