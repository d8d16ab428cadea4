//! What a transaction did to each row: the net change, the only thing readers ever see.
//!
//! Intermediate states of a transaction were never visible to anyone, so they are not events.
//! Commands are put in order by their command id, never by the order in which triggers fired: a
//! row trigger of the user's that updates another row of the same statement makes PostgreSQL fire
//! our trigger for the later change first.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::change::{Change, RowVersion, Side};
use crate::image::{Image, Key};

/// What one transaction did to one row. At least one side is there, but for a schema break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetChange {
    pub collection: u64,
    /// `None` for a table without a primary key.
    pub key: Option<Key>,
    pub before: Option<Image>,
    pub after: Option<Image>,
    /// Nothing happened to the row: its past was erased from the log. `after` is the row as it was
    /// then, or only its key.
    pub rewrite: bool,
}

impl NetChange {
    /// See [`Change::schema_break`]: every source of the collection ends here.
    pub fn is_schema_break(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

/// The order in which the changes of a transaction are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// By command id: the order in which the rows really changed.
    Command,
    /// By the firing of triggers: wrong, and kept so that a test can prove that it would notice.
    Fired,
}

/// Folds the changes of one transaction (or of one row of it) into net changes, ordered by each
/// row's last change.
pub fn net(changes: Vec<Change>) -> Vec<NetChange> {
    net_in(Sequence::Command, changes)
}

/// [`net`] in a given sequence.
pub fn net_in(sequence: Sequence, mut changes: Vec<Change>) -> Vec<NetChange> {
    if let [_] = changes.as_slice()
        && let Some(only) = changes.pop()
    {
        // Most transactions: there is nothing to put in order.
        if !only.has_moved_key() {
            return vec![only.alone()];
        }
        changes.push(only);
    }
    let mut changes: Vec<Change> = changes.into_iter().flat_map(Change::split_moved_key).collect();
    changes.sort_by_key(|c| match sequence {
        Sequence::Command => c.place_in_transaction(),
        Sequence::Fired => (0, false, c.fired),
    });

    let mut rows: Vec<Row> = Vec::new();
    let mut by_key: HashMap<(u64, Vec<u8>), usize> = HashMap::new();
    let mut by_version: HashMap<RowVersion, usize> = HashMap::new();
    for (at, change) in changes.into_iter().enumerate() {
        let key = change.key();
        let index = match &key {
            // An event of its own, beside what the transaction did to the row.
            _ if change.rewrite => new_row(&mut rows, &change),
            Some(key) => {
                let id = (change.collection, key.sort_bytes());
                *by_key.entry(id).or_insert_with(|| new_row(&mut rows, &change))
            }
            // Without a key a row is the chain of its versions.
            None => match change.before.as_ref().and_then(|b| by_version.get(&b.version)) {
                Some(&index) => index,
                None => new_row(&mut rows, &change),
            },
        };
        if key.is_none() && !change.rewrite {
            // The old one too: a TRUNCATE may have captured the end of a row that somebody else's
            // trigger then ended before it.
            let sides = change.before.iter().chain(&change.after);
            by_version.extend(sides.map(|side| (side.version, index)));
        }
        rows[index].fold(at, change);
    }

    rows.sort_by_key(|r| r.last);
    rows.into_iter().filter_map(Row::finish).collect()
}

impl Change {
    /// Where the change stands among those of its transaction: by command id; at one command id the
    /// deletes come first, since `UPDATE t SET id = id + 1` ends the row of a key before it gives
    /// that key to another row; the firing of triggers only breaks ties.
    pub fn place_in_transaction(&self) -> (u32, bool, u64) {
        (self.command, self.after.is_some(), self.fired)
    }

    /// The key of the row, by its newest image.
    pub fn key(&self) -> Option<Key> {
        self.after.as_ref().or(self.before.as_ref()).and_then(|s| s.image.key())
    }

    fn has_moved_key(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => !before.image.has_key_of(&after.image),
            _ => false,
        }
    }

    /// What it did when its transaction did nothing else.
    pub(crate) fn alone(self) -> NetChange {
        let (is_break, key) = (self.is_schema_break(), self.key());
        let (before, after) = (self.before.map(|s| s.image), self.after.map(|s| s.image));
        let rewrite = self.rewrite && !is_break;
        NetChange { collection: self.collection, key, before, after, rewrite }
    }

    /// An update that changed the primary key is the end of one row and the start of another.
    pub fn split_moved_key(self) -> impl Iterator<Item = Self> {
        let (first, second) = if self.has_moved_key() {
            let end = Self { after: None, ..self.clone() };
            (end, Some(Self { before: None, ..self }))
        } else {
            (self, None)
        };
        std::iter::once(first).chain(second)
    }
}

/// What is known of one row while its changes are folded.
struct Row {
    collection: u64,
    /// The image before the transaction.
    before: Option<Image>,
    /// Versions that the transaction made and has not yet ended; at most one at its end.
    alive: Vec<Side>,
    /// Not a row, but a schema break.
    is_break: bool,
    last: usize,
    rewrite: bool,
}

fn new_row(rows: &mut Vec<Row>, change: &Change) -> usize {
    rows.push(Row {
        collection: change.collection,
        before: None,
        alive: Vec::new(),
        is_break: change.is_schema_break(),
        last: 0,
        rewrite: change.rewrite,
    });
    rows.len() - 1
}

impl Row {
    fn fold(&mut self, at: usize, change: Change) {
        self.last = at;
        if let Some(ended) = change.before {
            match self.made_here(&ended.version) {
                Some(index) => {
                    self.alive.remove(index);
                }
                None => {
                    self.before.get_or_insert(ended.image);
                }
            }
        }
        self.alive.extend(change.after);
    }

    /// The living version that is ended now. It is found also when nobody made it here: an ATTACH
    /// PARTITION brings versions of earlier transactions. A CLUSTER in between moves versions but
    /// keeps the command that made them, hence the second look.
    fn made_here(&self, ended: &RowVersion) -> Option<usize> {
        let same = self.alive.iter().position(|s| s.version == *ended);
        same.or_else(|| {
            ended.made_by?;
            self.alive.iter().position(|s| s.version.made_by == ended.made_by)
        })
    }

    fn finish(mut self) -> Option<NetChange> {
        let after = self.alive.pop().map(|s| s.image);
        if self.is_break {
            let (collection, before) = (self.collection, self.before);
            return Some(NetChange { collection, key: None, before, after, rewrite: false });
        }
        let key = after.as_ref().or(self.before.as_ref())?.key();
        Some(NetChange {
            collection: self.collection,
            key,
            before: self.before,
            after,
            rewrite: self.rewrite,
        })
    }
}
