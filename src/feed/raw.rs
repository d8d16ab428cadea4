//! The raw changes of the log, for `event_source.changes`: for eyes, not for programs.

use event_source_model::change::Change;
use event_source_model::event::View;
use event_source_model::image::Image;
use event_source_model::stamp::Stamp;
use event_source_model::time::EPOCH_MICROS;
use event_source_wire::native::{self, Numbers};
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result, raised};
use crate::log::stamps::Stamps;
use crate::log::transaction;
use crate::order::reading::Reading;
use crate::source;

type Row = (
    i64,
    TimestampWithTimeZone,
    i64,
    i64,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
);

/// Oldest first; only tables that the caller may read in full and without row security. One
/// transaction is read at a time, each as of the moment in which it is asked for.
#[pg_extern(sql = false)]
#[expect(clippy::type_complexity, reason = "pg_extern reads the columns from the type")]
fn raw_changes() -> TableIterator<
    'static,
    (
        name!(txn_ts, i64),
        name!(committed_at, TimestampWithTimeZone),
        name!(ordinal, i64),
        name!(collection, i64),
        name!(op, String),
        name!(key, Option<String>),
        name!(old, Option<String>),
        name!(new, Option<String>),
        name!(xid, i64),
    ),
> {
    let mut after = 0;
    let mut rows = Vec::new().into_iter();
    TableIterator::new(std::iter::from_fn(move || {
        loop {
            if let Some(row) = rows.next() {
                return Some(row);
            }
            rows = raised(next_transaction(&mut after))?.into_iter();
        }
    }))
}

/// The rows of the next transaction that changed something.
fn next_transaction(after: &mut i64) -> Result<Option<Vec<Row>>> {
    let reading = Reading::begin()?;
    let mut stamps = Stamps::forward(*after, reading.closed)?;
    while let Some(stamp) = stamps.next()? {
        *after = stamp.txn_ts;
        if stamp.changes == 0 {
            continue;
        }
        let mut changes = transaction::raw(&stamps, &stamp)?;
        changes.retain(|change| !change.is_schema_break());
        changes.sort_by_key(Change::place_in_transaction);
        let mut rows = Vec::with_capacity(changes.len());
        for (ordinal, change) in changes.into_iter().enumerate() {
            if may_see(change.collection)? {
                rows.push(row(&stamp, ordinal as i64, &change)?);
            }
        }
        return Ok(Some(rows));
    }
    Ok(None)
}

fn row(stamp: &Stamp, ordinal: i64, change: &Change) -> Result<Row> {
    let op = match (&change.before, &change.after) {
        _ if change.rewrite => "rewrite",
        (None, _) => "insert",
        (_, None) => "delete",
        _ => "update",
    };
    let view = View { collection: String::new(), fields: None, projection: None, history: 0 };
    let json = |image: &Image| native::data_json(&view, image, Numbers::Digits);
    let committed_at = TimestampWithTimeZone::try_from(stamp.committed_at - EPOCH_MICROS)
        .map_err(|_| Error::new(Kind::Corrupted, "a stamp in the change log is damaged"))?;
    Ok((
        stamp.txn_ts,
        committed_at,
        ordinal,
        change.collection as i64,
        op.to_owned(),
        change.key().map(|key| key.text()),
        change.before.as_ref().map(|side| json(&side.image)),
        change.after.as_ref().map(|side| json(&side.image)),
        stamp.xid as i64,
    ))
}

/// Whether the caller may see whole rows of a collection that is still captured.
fn may_see(collection: u64) -> Result<bool> {
    // SAFETY: reads the session's state.
    let user = unsafe { pg_sys::GetUserId() };
    let relation = source::relation_of(collection)?;
    Ok(relation.is_some_and(|relation| source::may_read_all(user, relation)))
}
