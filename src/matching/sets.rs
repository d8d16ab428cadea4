//! The sources of an index's sets, found by the terms of a row: ten thousand of them cost a
//! change what one costs.

use std::collections::HashMap;

use event_source_door::message::SourceId;
use pgrx::pg_sys;

use super::index::Key;
use super::owned::Owned;
use super::rule::Rule;

/// A source in a set.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) source: SourceId,
    /// The number of its filter in the collection.
    pub(super) filter: Option<usize>,
    pub(super) rule: Rule,
}

/// The sets of one index with one number of terms.
#[derive(Debug)]
pub(super) struct Sets {
    /// The number of the index in the collection.
    pub(super) index: usize,
    pub(super) terms: usize,
    /// The sets are rows of the table: every change of the row counts, not only of the index's.
    pub(super) rows: bool,
    by_hash: HashMap<u64, Vec<usize>>,
    sets: Vec<TermSet>,
    /// Numbers of sets that lost their last member.
    free: Vec<usize>,
}

#[derive(Debug)]
struct TermSet {
    hash: u64,
    terms: Vec<Option<Owned>>,
    members: Vec<Member>,
}

impl Sets {
    pub(super) fn new(index: usize, terms: usize, rows: bool) -> Self {
        Self { index, terms, rows, by_hash: HashMap::new(), sets: Vec::new(), free: Vec::new() }
    }

    /// The number of the set with these terms, which are as many as the sets' own.
    pub(super) fn find(&self, keys: &[Key], terms: &[Option<pg_sys::Datum>]) -> Option<usize> {
        let candidates = self.by_hash.get(&hash(keys, terms))?;
        candidates.iter().copied().find(|&number| {
            let own = &self.sets[number].terms;
            let mut pairs = keys.iter().zip(own.iter().zip(terms));
            pairs.all(|(key, (own, term))| key.equal(own.as_ref().map(Owned::datum), *term))
        })
    }

    pub(super) fn members(&self, set: usize) -> &[Member] {
        &self.sets[set].members
    }

    pub(super) fn all_members(&self) -> impl Iterator<Item = &Member> {
        self.sets.iter().flat_map(|set| &set.members)
    }

    /// Adds a source; the number of its set, by which it is removed again.
    pub(super) fn add(&mut self, keys: &[Key], terms: Vec<Option<Owned>>, member: Member) -> usize {
        let datums: Vec<_> = terms.iter().map(|term| term.as_ref().map(Owned::datum)).collect();
        if let Some(number) = self.find(keys, &datums) {
            self.sets[number].members.push(member);
            return number;
        }
        let hash = hash(keys, &datums);
        let set = TermSet { hash, terms, members: vec![member] };
        let number = match self.free.pop() {
            Some(number) => {
                self.sets[number] = set;
                number
            }
            None => {
                self.sets.push(set);
                self.sets.len() - 1
            }
        };
        self.by_hash.entry(hash).or_default().push(number);
        number
    }

    /// Removes a source from a set; what it was there.
    pub(super) fn remove(&mut self, number: usize, source: SourceId) -> Option<Member> {
        let set = &mut self.sets[number];
        let at = set.members.iter().position(|member| member.source == source)?;
        let member = set.members.swap_remove(at);
        if set.members.is_empty() {
            set.terms.clear();
            if let Some(numbers) = self.by_hash.get_mut(&set.hash) {
                numbers.retain(|&other| other != number);
                if numbers.is_empty() {
                    self.by_hash.remove(&set.hash);
                }
            }
            self.free.push(number);
        }
        Some(member)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

/// One hash of all terms; equal terms have equal hashes.
fn hash(keys: &[Key], terms: &[Option<pg_sys::Datum>]) -> u64 {
    keys.iter().zip(terms).fold(0, |hash, (key, term)| {
        (hash ^ key.hash(*term)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
    })
}
