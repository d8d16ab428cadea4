//! What a token defines: a set, how it is seen, who may see it and where it starts.
//!
//! Objects are named twice, by OID and by name: the OID survives a rename, the name survives dump
//! and restore.

use serde::{Deserialize, Serialize};

use crate::position::Position;

/// A PostgreSQL object, by its OID in the database that minted the token and by its name then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Named {
    pub oid: u32,
    /// Schema-qualified where the object has a schema.
    pub name: String,
}

/// The set that a source watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Set {
    /// Every row of the table.
    Collection,
    /// The rows of an index whose leading key columns equal the terms; `None` is IS NULL.
    /// Terms are text as the column type's output function writes it under pinned settings.
    /// The shape is that of the index when the token was minted: one that is made again under the
    /// same name may have other columns.
    Index { index: Named, shape: u64, terms: Vec<Option<String>> },
    /// One row, by the text of each column of its primary key.
    Row { key: Vec<String> },
}

/// A boolean expression over the row, deparsed with every name qualified and every parameter a
/// typed constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Filter {
    pub expression: String,
    /// The columns that it names, by number and by the name it uses for them: a later rename does
    /// not reach the text.
    pub columns: Vec<(i16, String)>,
}

/// Which event types are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Types {
    pub add: bool,
    pub update: bool,
    pub remove: bool,
}

impl Types {
    pub const ALL: Self = Self { add: true, update: true, remove: true };
}

/// An update counts only when one of these columns changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watch {
    pub columns: Vec<i16>,
    /// Also a row that comes counts only with any of them, and a row that goes only with all of them: so
    /// Fauna's `eventsOn` has it.
    pub of_rows: bool,
}

/// How `data` is made of the columns shown, where it is not simply the row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Projection {
    /// An object of these columns, under these names, in this order.
    Object(Vec<(String, i16)>),
    /// One column's value alone.
    Value(i16),
}

impl Projection {
    /// The columns that it shows.
    pub fn columns(&mut self) -> Vec<&mut i16> {
        match self {
            Self::Object(fields) => fields.iter_mut().map(|(_, column)| column).collect(),
            Self::Value(column) => vec![column],
        }
    }
}

/// Everything about a source except who asked, when and from where: equal definitions are
/// evaluated and rendered once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Definition {
    /// The id of the capture; a table captured again has a new one.
    pub collection: u64,
    /// How many schema breaks the collection had when the token was minted. A reader of an earlier
    /// generation gets as far as the break that ended it.
    pub generation: u32,
    pub set: Set,
    pub filter: Option<Filter>,
    /// The columns shown in `data`; `None` for all.
    pub fields: Option<Vec<i16>>,
    /// Of columns that are in `fields`.
    pub projection: Option<Projection>,
    /// Which changes of the set's rows count; `None` for any.
    pub watch: Option<Watch>,
    pub types: Types,
    /// The filter holds back no row that is deleted: for readers who are told of all deletes of the set,
    /// whatever the row was.
    pub every_delete: bool,
    /// The role as which the source is evaluated.
    pub role: Named,
}

/// Where a source starts, from the snapshot of the statement that minted it: everything with
/// `txn_ts > closed` that is not in `seen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub closed: i64,
    /// Ascending; transactions above `closed` that the snapshot already saw.
    pub seen: Vec<i64>,
}

impl Start {
    pub fn position(&self) -> Position {
        Position::after(self.closed)
    }

    /// Whether the minting statement already saw the transaction at `txn_ts`.
    pub fn saw(&self, txn_ts: i64) -> bool {
        txn_ts <= self.closed || self.seen.binary_search(&txn_ts).is_ok()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Random; views, logs and `revoke` name a token by it.
    pub id: u64,
    pub history: u64,
    /// The history of the whole cluster, to which its roles belong: where it is another one, the role's name
    /// counts and not its number.
    pub cluster: u64,
    pub definition: Definition,
    /// The names of the columns that the definition's `fields` and then its `watch` give by number: a
    /// restored table may number them otherwise.
    pub columns: Vec<String>,
    /// Of an index: a hash of what it consists of by names, for the same reason.
    pub index: Option<u64>,
    /// Microseconds since 1970; `None` for never.
    pub expires: Option<i64>,
    pub start: Start,
}
