//! All sources of the worker's streams: which of them see a change.
//!
//! It lives in the worker across transactions. Within one it must be told of its beginning, and is
//! then free of whatever the transaction before held.

use std::collections::HashMap;

use event_source_door::message::{SeenBy, SourceId};
use event_source_model::look::Only;
use event_source_model::net::NetChange;
use event_source_model::source::Definition;
use rustc_hash::FxHashMap;

use super::collection::Collection;
use super::guard::{opening, reviewing};
use super::invalidation::{self, Noted};
use crate::error::{Error, Result};

/// What a change is for the sources.
#[derive(Debug, Default)]
pub struct Matches {
    pub seen_by: SeenBy,
    /// Sources that cannot go on, each once. The caller ends their streams and removes them.
    pub failed: Vec<(SourceId, Error)>,
}

/// All sources, found by what a change did.
#[derive(Debug)]
pub struct Matcher {
    collections: FxHashMap<u64, Collection>,
    /// All sources, for the day when DDL has them looked at again.
    definitions: HashMap<SourceId, Definition>,
    /// Sources that DDL ended; they are reported and gone.
    failed: Vec<(SourceId, Error)>,
}

impl Matcher {
    pub fn new() -> Self {
        invalidation::subscribe();
        Self { collections: FxHashMap::default(), definitions: HashMap::new(), failed: Vec::new() }
    }

    /// # Errors
    /// When the definition no longer fits the table, the index or the role that it names; the
    /// source is not added then.
    pub fn add(&mut self, source: SourceId, definition: &Definition) -> Result<()> {
        self.remove(source);
        self.place(source, definition)?;
        self.definitions.insert(source, definition.clone());
        Ok(())
    }

    /// Does nothing for a source that is not there.
    pub fn remove(&mut self, source: SourceId) {
        let Some(definition) = self.definitions.remove(&source) else { return };
        if let Some(collection) = self.collections.get_mut(&definition.collection) {
            collection.remove(source);
            if collection.is_empty() {
                self.collections.remove(&definition.collection);
            }
        }
    }

    /// A transaction has begun: looks again at whatever DDL may have changed. Sources that it
    /// ended come with [`Matcher::take_failed`], at the latest with the next change.
    pub fn begin(&mut self) {
        let noted = invalidation::take();
        self.collections.values_mut().for_each(Collection::begin);
        let touched: Vec<u64> = self
            .collections
            .values()
            .filter(|c| c.is_touched(&noted))
            .map(Collection::id)
            .collect();
        touched.into_iter().for_each(|id| self.review(id, &noted));
    }

    /// The sources that DDL ended. They are no longer there.
    pub fn take_failed(&mut self) -> Vec<(SourceId, Error)> {
        std::mem::take(&mut self.failed)
    }

    /// What the change is for each source.
    pub fn matches(&mut self, change: &NetChange) -> Matches {
        let collection = self.collections.get_mut(&change.collection);
        let mut matches = collection.map(|c| c.matches(change)).unwrap_or_default();
        matches.failed.append(&mut self.failed);
        matches
    }

    /// As [`Self::matches`] of a plain change, where that rests on nothing in its images.
    pub fn known(&self, only: &Only) -> Option<Matches> {
        let collection = self.collections.get(&only.collection)?;
        // What DDL ended comes with the next change.
        let seen_by = collection.known(only).filter(|_| self.failed.is_empty())?;
        Some(Matches { seen_by: seen_by.collect(), failed: Vec::new() })
    }

    /// Whether any source watches the collection.
    pub fn wants(&self, collection: u64) -> bool {
        self.collections.contains_key(&collection)
    }

    fn review(&mut self, id: u64, noted: &Noted) {
        let current = reviewing(|| self.collections[&id].is_current(noted));
        // An error says that the table is gone; so will each source, when it is placed again.
        if current.is_ok_and(|current| current) {
            return;
        }
        self.collections.remove(&id);
        let sources = self.definitions.iter().filter(|(_, d)| d.collection == id);
        let sources: Vec<_> = sources.map(|(&source, d)| (source, d.clone())).collect();
        for (source, definition) in sources {
            if let Err(error) = self.place(source, &definition) {
                self.definitions.remove(&source);
                self.failed.push((source, error));
            }
        }
    }

    fn place(&mut self, source: SourceId, definition: &Definition) -> Result<()> {
        let id = definition.collection;
        opening(definition, || match self.collections.get_mut(&id) {
            Some(collection) => collection.add(source, definition),
            None => {
                let mut collection = Collection::open(id)?;
                collection.add(source, definition)?;
                self.collections.insert(id, collection);
                Ok(())
            }
        })
    }
}

impl Default for Matcher {
    fn default() -> Self {
        Self::new()
    }
}
