//! The definitions that are evaluated for open streams.
//!
//! Equal definitions are one source, evaluated and rendered once for all their streams. A source
//! without streams lingers for a while, so that a client that reconnects finds the server's memory
//! of the tail already matched.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use event_source_door::message::SourceId;
use event_source_model::source::Definition;

use crate::error::Result;
use crate::matching::Matcher;

/// How long a source without streams is kept.
const LINGER: Duration = Duration::from_secs(60);
/// More than this without streams are let go at once.
const MOST_LINGERING: usize = 20_000;

/// All sources of a worker.
#[derive(Debug)]
pub struct Sources {
    pub matcher: Matcher,
    ids: HashMap<Definition, SourceId>,
    by_id: HashMap<SourceId, Registered>,
    next: SourceId,
    /// Of all sources.
    streams: u64,
}

/// One source.
#[derive(Debug)]
pub struct Registered {
    pub definition: Definition,
    /// Every tail above this was matched against it.
    pub matched_since: i64,
    streams: u32,
    idle_since: Instant,
}

impl Sources {
    pub fn new() -> Self {
        Self {
            matcher: Matcher::new(),
            ids: HashMap::new(),
            by_id: HashMap::new(),
            // 0 is left for "none".
            next: 1,
            streams: 0,
        }
    }

    /// Registers one more stream of a definition. Called in a transaction, when everything up to
    /// `published` has been sent.
    pub fn open(&mut self, definition: &Definition, published: i64) -> Result<SourceId> {
        let id = match self.ids.get(definition) {
            Some(&id) => id,
            None => {
                let id = self.next;
                self.matcher.add(id, definition)?;
                self.next += 1;
                self.ids.insert(definition.clone(), id);
                let registered = Registered {
                    definition: definition.clone(),
                    matched_since: published,
                    streams: 0,
                    idle_since: Instant::now(),
                };
                self.by_id.insert(id, registered);
                id
            }
        };
        if let Some(source) = self.by_id.get_mut(&id) {
            source.streams += 1;
            self.streams += 1;
        }
        Ok(id)
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
    pub fn close(&mut self, id: SourceId) {
        if let Some(source) = self.by_id.get_mut(&id) {
            self.streams -= u64::from(source.streams > 0);
            source.streams = source.streams.saturating_sub(1);
            source.idle_since = Instant::now();
        }
    }

    /// The source ended for good.
    pub fn end(&mut self, id: SourceId) {
        if let Some(source) = self.by_id.remove(&id) {
            self.streams -= u64::from(source.streams);
            self.ids.remove(&source.definition);
            self.matcher.remove(id);
        }
    }

    pub fn get(&self, id: SourceId) -> Option<&Registered> {
        self.by_id.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Definition)> {
        self.by_id.iter().map(|(&id, source)| (id, &source.definition))
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
