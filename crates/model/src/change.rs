//! What one command did to one row, and the payload in which the log stores it.
//!
//! A payload describes itself: the shapes of its rows stand in it once, and an update's old image
//! keeps only what differs from the new one. Reading it needs no catalog and no other row.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::image::{Image, Shape};
use crate::value::Value;

/// Which physical version of a row a change made or ended.
///
/// It lets [`crate::net`] pair the version that one command made with the command that ended it,
/// whatever the order in which triggers fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// Why a stored payload could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the log entry is damaged: {0}")]
pub struct DamagedPayload(#[from] postcard::Error);

/// A payload as it is read.
#[derive(Deserialize)]
struct Stored {
    shapes: Vec<Shape>,
    changes: Vec<StoredChange>,
}

#[derive(Deserialize)]
struct StoredChange {
    collection: u64,
    command: u32,
    fired: u64,
    after: Option<StoredSide>,
    before: Option<StoredBefore>,
    rewrite: bool,
}

#[derive(Deserialize)]
struct StoredSide {
    shape: u32,
    version: RowVersion,
    values: Vec<Value>,
}

#[derive(Deserialize)]
enum StoredBefore {
    Whole(StoredSide),
    /// The columns, by index, in which the old image differs from the new one.
    Differs {
        version: RowVersion,
        values: Vec<(u16, Value)>,
    },
}

/// The same as it is written: with the values where they are, for they may be large.
#[derive(Serialize)]
struct Storing<'a> {
    shapes: Vec<&'a Shape>,
    changes: Vec<StoringChange<'a>>,
}

#[derive(Serialize)]
struct StoringChange<'a> {
    collection: u64,
    command: u32,
    fired: u64,
    after: Option<StoringSide<'a>>,
    before: Option<StoringBefore<'a>>,
    rewrite: bool,
}

#[derive(Serialize)]
struct StoringSide<'a> {
    shape: u32,
    version: RowVersion,
    values: &'a [Value],
}

#[derive(Serialize)]
enum StoringBefore<'a> {
    Whole(StoringSide<'a>),
    Differs { version: RowVersion, values: Vec<(u16, &'a Value)> },
}

/// Encodes changes for the log.
pub fn encode(changes: &[Change]) -> Vec<u8> {
    const PLAIN: &str = "changes are plain data and encode";
    let mut shapes: Vec<&Arc<Shape>> = Vec::new();
    let changes = changes.iter().map(|c| store(&mut shapes, c)).collect();
    let storing = Storing { shapes: shapes.into_iter().map(Arc::as_ref).collect(), changes };
    // Counted first: a buffer that grows by doubling holds a large value three times.
    let size = postcard::experimental::serialized_size(&storing).expect(PLAIN);
    postcard::to_extend(&storing, Vec::with_capacity(size)).expect(PLAIN)
}

/// Reads what [`encode`] wrote.
pub fn decode(payload: &[u8]) -> Result<Vec<Change>, DamagedPayload> {
    let stored: Stored = postcard::from_bytes(payload)?;
    let shapes: Vec<Arc<Shape>> = stored.shapes.into_iter().map(Arc::new).collect();
    stored.changes.into_iter().map(|c| restore(&shapes, c)).collect()
}

fn store<'a>(shapes: &mut Vec<&'a Arc<Shape>>, change: &'a Change) -> StoringChange<'a> {
    let after = change.after.as_ref().map(|s| store_side(shapes, s));
    let before = change.before.as_ref().map(|before| match &change.after {
        Some(after) if same_shape(&before.image.shape, &after.image.shape) => {
            let differs = before.image.values.iter().zip(&after.image.values).enumerate();
            let values = differs
                .filter(|(_, (old, new))| old != new)
                .map(|(i, (old, _))| (i as u16, old))
                .collect();
            StoringBefore::Differs { version: before.version, values }
        }
        _ => StoringBefore::Whole(store_side(shapes, before)),
    });
    StoringChange {
        collection: change.collection,
        command: change.command,
        fired: change.fired,
        after,
        before,
        rewrite: change.rewrite,
    }
}

fn store_side<'a>(shapes: &mut Vec<&'a Arc<Shape>>, side: &'a Side) -> StoringSide<'a> {
    let shape = &side.image.shape;
    let at = shapes.iter().position(|s| same_shape(s, shape)).unwrap_or_else(|| {
        shapes.push(shape);
        shapes.len() - 1
    });
    StoringSide { shape: at as u32, version: side.version, values: &side.image.values }
}

fn same_shape(a: &Arc<Shape>, b: &Arc<Shape>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn restore(shapes: &[Arc<Shape>], stored: StoredChange) -> Result<Change, DamagedPayload> {
    let after = stored.after.map(|s| restore_side(shapes, s)).transpose()?;
    let before = match stored.before {
        None => None,
        Some(StoredBefore::Whole(side)) => Some(restore_side(shapes, side)?),
        Some(StoredBefore::Differs { version, values }) => {
            let mut image = after.as_ref().map(|a| a.image.clone()).ok_or_else(damaged)?;
            for (at, value) in values {
                *image.values.get_mut(usize::from(at)).ok_or_else(damaged)? = value;
            }
            Some(Side { image, version })
        }
    };
    Ok(Change {
        collection: stored.collection,
        command: stored.command,
        fired: stored.fired,
        before,
        after,
        rewrite: stored.rewrite,
    })
}

fn restore_side(shapes: &[Arc<Shape>], stored: StoredSide) -> Result<Side, DamagedPayload> {
    let shape = shapes.get(stored.shape as usize).ok_or_else(damaged)?;
    let whole = shape.columns.len() == stored.values.len()
        && shape.key.iter().all(|&i| usize::from(i) < stored.values.len());
    if !whole {
        return Err(damaged());
    }
    let image = Image { shape: Arc::clone(shape), values: stored.values };
    Ok(Side { image, version: stored.version })
}

fn damaged() -> DamagedPayload {
    DamagedPayload(postcard::Error::DeserializeBadEncoding)
}
