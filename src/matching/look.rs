//! One change, looked at by all sources of its collection: each index row, each hash and each
//! distinct filter once, whatever the number of sources.

use std::collections::HashMap;

use event_source_model::net::NetChange;

use super::collection::SharedFilter;
use super::execution::{Execution, Side};
use super::guard::Guard;
use super::index::{Index, IndexRow};
use super::matcher::Matches;
use super::rule::Membership;
use super::sets::{Member, Sets};
use super::table::Table;
use crate::error::{Error, Result};
use crate::pg::memory::Entered;

/// The index rows of a change, before and after it.
type IndexRows = [Option<IndexRow>; 2];

/// A change that is being looked at.
#[derive(Debug)]
pub(super) struct Look<'a> {
    table: &'a Table,
    indexes: &'a [Index],
    filters: &'a [Option<SharedFilter>],
    execution: &'a mut Execution,
    change: &'a NetChange,
    guard: Guard,
    /// The index rows so far, by the number of the index.
    rows: HashMap<usize, Result<IndexRows>>,
    /// What the filters said so far.
    verdicts: HashMap<(usize, Side), Result<bool>>,
    matches: Matches,
    /// The memory of the change is current while it is looked at.
    _memory: Entered,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        table: &'a Table,
        indexes: &'a [Index],
        filters: &'a [Option<SharedFilter>],
        execution: &'a mut Execution,
        change: &'a NetChange,
        guard: Guard,
    ) -> Self {
        let memory = Entered::enter(execution.memory());
        Self {
            table,
            indexes,
            filters,
            execution,
            change,
            guard,
            rows: HashMap::new(),
            verdicts: HashMap::new(),
            matches: Matches::default(),
            _memory: memory,
        }
    }

    pub(super) fn end(self) -> Matches {
        self.matches
    }

    /// The sources that watch every row.
    pub(super) fn everything(&mut self, members: &[Member]) {
        let there = Membership {
            before: self.change.before.is_some(),
            after: self.change.after.is_some(),
            changed: true,
        };
        self.judge(members, there);
    }

    /// The sources of sets of indexes.
    pub(super) fn sets(&mut self, all: &[Sets]) {
        for sets in all {
            match self.found(sets) {
                Err(error) => self.fail(sets.all_members(), &error),
                Ok((before, after, changed)) if before == after => {
                    if let Some(set) = before {
                        let stayed = Membership { before: true, after: true, changed };
                        self.judge(sets.members(set), stayed);
                    }
                }
                Ok((before, after, changed)) => {
                    if let Some(set) = before {
                        let left = Membership { before: true, after: false, changed };
                        self.judge(sets.members(set), left);
                    }
                    if let Some(set) = after {
                        let entered = Membership { before: false, after: true, changed };
                        self.judge(sets.members(set), entered);
                    }
                }
            }
        }
    }

    /// Which set held the row before and which after, and whether the row of the index changed.
    fn found(&mut self, sets: &Sets) -> Result<(Option<usize>, Option<usize>, bool)> {
        let (index, guard) = (&self.indexes[sets.index], self.guard);
        let [before, after] = self.index_rows(sets.index).as_ref().map_err(Error::clone)?;
        let find = || {
            let _acting = index.acting();
            let set_of = |row: &Option<IndexRow>| {
                row.as_ref().and_then(|row| sets.find(&index.keys, &row[..sets.terms]))
            };
            let changed = match (before, after) {
                (Some(before), Some(after)) => sets.rows || index.differ(before, after),
                _ => true,
            };
            Ok((set_of(before), set_of(after), changed))
        };
        if index.may_fail() { guard.run(index.payer(), find) } else { find() }
    }

    fn index_rows(&mut self, number: usize) -> &Result<IndexRows> {
        if !self.rows.contains_key(&number) {
            let rows = self.make_index_rows(number);
            self.rows.insert(number, rows);
        }
        &self.rows[&number]
    }

    fn make_index_rows(&mut self, number: usize) -> Result<IndexRows> {
        let index = &self.indexes[number];
        let guard = self.guard;
        let mut row = |side| -> Result<Option<IndexRow>> {
            let columns = &index.columns;
            if !self.execution.show(side, self.change, self.table, columns, guard)? {
                return Ok(None);
            }
            let make = || Ok(index.row(self.execution));
            if index.may_fail() { guard.run(index.payer(), make) } else { make() }
        };
        let rows = row(Side::Before).and_then(|before| Ok([before, row(Side::After)?]));
        if rows.is_err() {
            index.forget();
        }
        rows
    }

    fn judge(&mut self, members: &[Member], within: Membership) {
        for member in members {
            match self.membership(member, within) {
                Err(error) => self.matches.failed.push((member.source, error)),
                Ok(membership) => {
                    let event = member.rule.event(membership, self.change);
                    self.matches.seen_by.extend(event.map(|kind| (member.source, kind)));
                }
            }
        }
    }

    fn membership(&mut self, member: &Member, within: Membership) -> Result<Membership> {
        let Some(filter) = member.filter else { return Ok(within) };
        let is_told = member.rule.every_delete && self.change.after.is_none();
        Ok(Membership {
            before: within.before && (is_told || self.passes(filter, Side::Before)?),
            after: within.after && self.passes(filter, Side::After)?,
            ..within
        })
    }

    fn passes(&mut self, number: usize, side: Side) -> Result<bool> {
        if let Some(verdict) = self.verdicts.get(&(number, side)) {
            return verdict.clone();
        }
        let filter = self.filters[number].as_ref().expect("a member's filter is there");
        let test = &filter.test;
        let guard = self.guard;
        // The row first: a value that does not fit is the table's fault, not the expression's.
        let verdict = self
            .execution
            .show(side, self.change, self.table, &test.columns, guard)
            .and_then(|_| guard.run(test.payer, || Ok(test.passes(number, self.execution))));
        if verdict.is_err() {
            self.execution.forget_filter(number);
        }
        self.verdicts.insert((number, side), verdict.clone());
        verdict
    }

    fn fail<'m>(&mut self, members: impl Iterator<Item = &'m Member>, error: &Error) {
        self.matches.failed.extend(members.map(|member| (member.source, error.clone())));
    }
}
