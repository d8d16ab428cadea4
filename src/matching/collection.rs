//! The sources of one collection, and everything of the table that their evaluation needs.

use std::collections::HashMap;

use event_source_door::message::SourceId;
use event_source_model::event::EventType;
use event_source_model::look::Only;
use event_source_model::net::NetChange;
use event_source_model::source::{Definition, Filter, Named, Set};
use pgrx::pg_sys;

use super::execution::Execution;
use super::filter::FilterTest;
use super::guard::{Guard, together};
use super::index::Index;
use super::invalidation::Noted;
use super::look::Look;
use super::matcher::Matches;
use super::owned::Owned;
use super::rule::Rule;
use super::sets::{Member, Sets};
use super::table::Table;
use crate::cage::account;
use crate::compat;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;

/// The sources of one collection.
#[derive(Debug)]
pub(super) struct Collection {
    id: u64,
    table: Table,
    /// Sources that watch every row.
    everything: Vec<Member>,
    sets: Vec<Sets>,
    indexes: Vec<Index>,
    /// Which index a definition's name for it meant.
    index_of: HashMap<Named, usize>,
    filters: Vec<Option<SharedFilter>>,
    filter_of: HashMap<(Filter, Named), usize>,
    places: HashMap<SourceId, Place>,
    /// Of each source, see [`Definition::generation`].
    generations: HashMap<SourceId, u32>,
    /// Of this transaction, once it needed one.
    execution: Option<Execution>,
}

/// A filter of all the sources that have it for the same role.
#[derive(Debug)]
pub(super) struct SharedFilter {
    pub(super) test: FilterTest,
    users: usize,
}

/// Where a source is kept.
#[derive(Debug)]
enum Place {
    Everything,
    Set { index: usize, terms: usize, rows: bool, set: usize },
}

impl Collection {
    /// # Errors
    /// [`Kind::SourceGone`] when the collection is no longer captured.
    pub(super) fn open(id: u64) -> Result<Self> {
        let relation = relation_of(id)?;
        Ok(Self {
            id,
            table: Table::of(&relation),
            everything: Vec::new(),
            sets: Vec::new(),
            indexes: Vec::new(),
            index_of: HashMap::new(),
            filters: Vec::new(),
            filter_of: HashMap::new(),
            places: HashMap::new(),
            generations: HashMap::new(),
            execution: None,
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a source. Runs in a [`super::guard::opening`]: an ERROR leaves the collection as it
    /// was, but for what no source uses.
    pub(super) fn add(&mut self, source: SourceId, definition: &Definition) -> Result<()> {
        let watched = definition.watch.iter().flat_map(|watch| &watch.columns);
        watched.copied().try_for_each(|attnum| self.table.check(attnum))?;
        let found = match &definition.set {
            Set::Collection => None,
            Set::Index { index: named, shape, terms } => {
                let index = self.index_named(named)?;
                if crate::source::index_shape(self.indexes[index].oid) != Some(*shape) {
                    let other = format!("index {} of the event source is another one", named.name);
                    return Err(Error::new(Kind::SchemaChanged, other).hint("get a new token"));
                }
                let read = self.indexes[index].terms(terms.iter().map(Option::as_deref))?;
                Some((index, read, false))
            }
            Set::Row { key } => {
                let index = self.primary_key(key.len())?;
                let read = self.indexes[index].terms(key.iter().map(|part| Some(part.as_str())))?;
                Some((index, read, true))
            }
        };
        let filter = definition.filter.as_ref();
        let filter = filter.map(|filter| self.filter(filter, &definition.role)).transpose()?;
        let member = Member { source, filter, rule: Rule::of(definition) };
        let place = match found {
            None => {
                self.everything.push(member);
                Place::Everything
            }
            Some((index, terms, rows)) => self.put(index, terms, rows, member),
        };
        if let Some(shared) = filter.and_then(|number| self.filters[number].as_mut()) {
            shared.users += 1;
        }
        self.places.insert(source, place);
        self.generations.insert(source, definition.generation);
        Ok(())
    }

    pub(super) fn remove(&mut self, source: SourceId) {
        self.generations.remove(&source);
        let filter = match self.places.remove(&source) {
            None => None,
            Some(Place::Everything) => {
                let at = self.everything.iter().position(|member| member.source == source);
                at.and_then(|at| self.everything.swap_remove(at).filter)
            }
            Some(Place::Set { index, terms, rows, set }) => {
                let is = |s: &Sets| (s.index, s.terms, s.rows) == (index, terms, rows);
                let at = self.sets.iter().position(is).expect("a placed source has its sets");
                let member = self.sets[at].remove(set, source);
                if self.sets[at].is_empty() {
                    self.sets.swap_remove(at);
                }
                member.and_then(|member| member.filter)
            }
        };
        if let Some(number) = filter {
            self.drop_user_of(number);
        }
    }

    fn drop_user_of(&mut self, number: usize) {
        let Some(shared) = &mut self.filters[number] else { return };
        shared.users -= 1;
        if shared.users == 0 {
            self.filters[number] = None;
            self.filter_of.retain(|_, &mut other| other != number);
            if let Some(execution) = &mut self.execution {
                execution.forget_filter(number);
            }
        }
    }

    /// What the change is for each source.
    pub(super) fn matches(&mut self, change: &NetChange) -> Matches {
        if change.is_schema_break() {
            return self.end_generations();
        }
        let guard = if self.may_fail() { Guard::Together } else { Guard::Bare };
        account::begin();
        let looked = match guard {
            Guard::Together => together(|| Ok(self.look(change, guard))),
            _ => Ok(self.look(change, guard)),
        };
        looked.unwrap_or_else(|_| {
            // Whatever was in the middle of its work when the ERROR came is not used again.
            self.forget_execution();
            self.look(change, Guard::Apart)
        })
    }

    /// A schema break ends the sources that were made before it. Those that were made after it may be
    /// here already: their tokens have seen its transaction.
    fn end_generations(&self) -> Matches {
        // A collection that is gone has no source left that could go on.
        let now = crate::source::generation_of(self.id).unwrap_or(u32::MAX);
        let ended = self.generations.iter().filter(|&(_, &generation)| generation < now);
        let failed = ended.map(|(&source, _)| (source, crate::source::schema_break()));
        Matches { failed: failed.collect(), ..Matches::default() }
    }

    /// What a plain change is for each source that sees it, where that rests on nothing in its images.
    pub(super) fn known(&self, only: &Only) -> Option<impl Iterator<Item = (SourceId, EventType)>> {
        let looks = |member: &Member| member.filter.is_some() || member.rule.looks_at_images();
        if !self.sets.is_empty() || self.everything.iter().any(looks) {
            return None;
        }
        let event = move |member: &Member| {
            member.rule.event_without_images(only).map(|kind| (member.source, kind))
        };
        Some(self.everything.iter().filter_map(event))
    }

    fn look(&mut self, change: &NetChange, guard: Guard) -> Matches {
        let execution = self.execution.get_or_insert_with(|| Execution::of(&self.table));
        execution.next_change();
        let mut look =
            Look::new(&self.table, &self.indexes, &self.filters, execution, change, guard);
        look.everything(&self.everything);
        look.sets(&self.sets);
        look.end()
    }

    fn may_fail(&self) -> bool {
        self.sets.iter().any(|sets| self.indexes[sets.index].may_fail())
            || self.filters.iter().any(Option::is_some)
    }

    /// A new transaction begins.
    pub(super) fn begin(&mut self) {
        self.forget_execution();
    }

    fn forget_execution(&mut self) {
        self.execution = None;
        self.indexes.iter().for_each(Index::forget);
    }

    /// Whether DDL may have changed something that this collection is made from.
    pub(super) fn is_touched(&self, noted: &Noted) -> bool {
        noted.holds(self.table.oid)
            || self.indexes.iter().any(|index| noted.holds(index.oid))
            || self.table.composites().iter().any(|&relation| noted.holds(relation))
    }

    /// Whether it still is what it was made from: a VACUUM or a GRANT changes nothing here.
    pub(super) fn is_current(&self, noted: &Noted) -> Result<bool> {
        if self.table.composites().iter().any(|&relation| noted.holds(relation)) {
            return Ok(false);
        }
        let relation = relation_of(self.id)?;
        // SAFETY: the relation is open.
        let key = unsafe { compat::primary_key(relation.as_ptr()) };
        let same_key = |sets: &Sets| !sets.rows || self.indexes[sets.index].oid == key;
        let same_index = |index: &Index| {
            Relation::peek(index.oid).is_some_and(|relation| index.is_current(&relation))
        };
        Ok(relation.oid() == self.table.oid
            && self.table.is_current(&relation)
            && self.sets.iter().all(same_key)
            && self.indexes.iter().all(same_index))
    }

    fn index_named(&mut self, named: &Named) -> Result<usize> {
        if let Some(&index) = self.index_of.get(named) {
            return Ok(index);
        }
        let index = self.index(index_oid(named, self.table.oid)?)?;
        self.index_of.insert(named.clone(), index);
        Ok(index)
    }

    fn primary_key(&mut self, columns: usize) -> Result<usize> {
        let relation = relation_of(self.id)?;
        // SAFETY: the relation is open.
        let oid = unsafe { compat::primary_key(relation.as_ptr()) };
        let lost = || {
            Error::new(Kind::SourceGone, "the table no longer has the event source's primary key")
                .hint("get a new token")
        };
        if oid == pg_sys::InvalidOid {
            return Err(lost());
        }
        let index = self.index(oid)?;
        if self.indexes[index].keys.len() == columns { Ok(index) } else { Err(lost()) }
    }

    fn index(&mut self, oid: pg_sys::Oid) -> Result<usize> {
        if let Some(at) = self.indexes.iter().position(|index| index.oid == oid) {
            return Ok(at);
        }
        let relation = Relation::peek(oid)
            .ok_or_else(|| Error::new(Kind::SourceGone, "the event source's index was dropped"))?;
        self.indexes.push(Index::open(&relation, &mut self.table)?);
        Ok(self.indexes.len() - 1)
    }

    fn filter(&mut self, filter: &Filter, role: &Named) -> Result<usize> {
        let name = (filter.clone(), role.clone());
        if let Some(&number) = self.filter_of.get(&name) {
            return Ok(number);
        }
        let relation = relation_of(self.id)?;
        let test = FilterTest::open(filter, role, &relation, &self.table)?;
        self.table.need(&test.columns)?;
        let shared = Some(SharedFilter { test, users: 0 });
        let number = match self.filters.iter().position(Option::is_none) {
            Some(free) => {
                self.filters[free] = shared;
                free
            }
            None => {
                self.filters.push(shared);
                self.filters.len() - 1
            }
        };
        self.filter_of.insert(name, number);
        Ok(number)
    }

    fn put(
        &mut self,
        index: usize,
        terms: Vec<Option<Owned>>,
        rows: bool,
        member: Member,
    ) -> Place {
        let count = terms.len();
        let is = |s: &Sets| (s.index, s.terms, s.rows) == (index, count, rows);
        let at = self.sets.iter().position(is).unwrap_or_else(|| {
            self.sets.push(Sets::new(index, count, rows));
            self.sets.len() - 1
        });
        let index_of = &self.indexes[index];
        let _acting = index_of.acting();
        let set = self.sets[at].add(&index_of.keys, terms, member);
        Place::Set { index, terms: count, rows, set }
    }
}

/// The collection's table, as it was last committed.
fn relation_of(collection: u64) -> Result<Relation> {
    let oid = crate::source::relation_of(collection)?;
    oid.and_then(Relation::peek).ok_or_else(|| {
        Error::new(Kind::SourceGone, "the event source's table is no longer captured")
            .hint("capture it with event_source.capture(...) and get a new token")
    })
}

/// The index by its OID, and by its name when that OID is not an index of the table: it was
/// created again, or the database was restored.
fn index_oid(named: &Named, table: pg_sys::Oid) -> Result<pg_sys::Oid> {
    let of_table = |&index: &pg_sys::Oid| {
        // SAFETY: a lookup in the caches that answers an invalid OID for what is no index.
        index != pg_sys::InvalidOid && unsafe { pg_sys::IndexGetRelation(index, true) } == table
    };
    let by_oid = Some(pg_sys::Oid::from(named.oid)).filter(of_table);
    by_oid.or_else(|| Some(by_name(&named.name)).filter(of_table)).ok_or_else(|| {
        let gone = format!("index {} of the event source does not exist", named.name);
        Error::new(Kind::SourceGone, gone).hint("get a new token")
    })
}

/// Without a check of privileges: the source's were checked when it was opened.
fn by_name(qualified: &str) -> pg_sys::Oid {
    // SAFETY: the name was quoted when the token was minted, and is read by the same rules;
    // the lookups answer an invalid OID for what is not there.
    unsafe {
        let length = qualified.len() as i32;
        let text = pg_sys::cstring_to_text_with_len(qualified.as_ptr().cast(), length);
        let names = pg_sys::textToQualifiedNameList(text);
        let range = &*pg_sys::makeRangeVarFromNameList(names);
        if range.schemaname.is_null() {
            return pg_sys::InvalidOid;
        }
        let schema = pg_sys::get_namespace_oid(range.schemaname, true);
        pg_sys::get_relname_relid(range.relname, schema)
    }
}
