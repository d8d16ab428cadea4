//! What one command did to one row.

use crate::image::Image;

/// Which physical version of a row a change made or ended.
///
/// It lets [`crate::net`] pair the version that one command made with the command that ended it,
/// whatever the order in which triggers fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowVersion {
    /// The table (for a partitioned table: the partition) that holds the version.
    pub table: u32,
    pub block: u32,
    pub offset: u16,
    /// The command of this transaction that made the version (cmin), `None` when an earlier
    /// transaction did.
    pub made_by: Option<u32>,
}

/// A row version and what was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    pub image: Image,
    pub version: RowVersion,
}

/// What one command did to one row. `before` alone is a delete, `after` alone an insert. Neither is
/// a schema break: the command did something to all rows that is in no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The id of the capture that logged it.
    pub collection: u64,
    /// The command id: cmin of the version made, cmax of the one deleted.
    pub command: u32,
    /// The order in which triggers fired. It is *not* the order of the commands; it only breaks
    /// ties between rows of one command.
    pub fired: u64,
    pub before: Option<Side>,
    pub after: Option<Side>,
    /// No command: the row's past was erased from the log. `after` is the row as it was then, or
    /// only its key when it was gone.
    pub rewrite: bool,
}

impl Change {
    /// From here on the rows of the collection are not what the events before make of them.
    pub fn schema_break(collection: u64, command: u32) -> Self {
        Self { collection, command, fired: 0, before: None, after: None, rewrite: false }
    }

    pub fn is_schema_break(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}
