//! Erasing a row's past from the log, for `event_source.redact`.
//!
//! The one place that replaces rows of the log: each row that shows the past is deleted and written
//! again without it, in the caller's transaction, so that every reader sees either the old log or
//! the new one. The deleted rows go with the files, see [`super::rewrite`]. Deletes of tables
//! without a replica identity, like inserts with our flag, do not reach logical replication.

use std::collections::BTreeSet;

use event_source_model::image::Image;
use event_source_model::redaction::Redaction;
use event_source_model::stamp::Stamp;
use pgrx::pg_sys;

use super::stamps::{self, Stamps};
use super::{append, buffer, prepared, runs, segment, shapes, transaction};
use crate::error::Result;
use crate::pg::snapshot::ActiveSnapshot;

/// What was erased.
#[derive(Debug, Default)]
pub struct Erased {
    /// Rows of the log; one more if this transaction changed the row and has not logged it yet.
    pub rows: i64,
    /// The segments whose files still hold it.
    pub segments: BTreeSet<usize>,
    /// The row with its key alone; `None` when nothing of it was found.
    pub row: Option<Image>,
}

/// Erases it from everything that is committed now and from what this transaction did. The caller
/// keeps others from changing the row meanwhile.
pub fn erase(redaction: &Redaction) -> Result<Erased> {
    let mut erased = Erased::default();
    // Also what this transaction has written to the log so far.
    // SAFETY: in a transaction that writes.
    unsafe { pg_sys::CommandCounterIncrement() };
    let _snapshot = ActiveSnapshot::latest();
    let mut stamps = Stamps::forward(0, i64::MAX)?;
    while let Some(stamp) = stamps.next()? {
        if stamp.changes == 0 || !stamp.collections.contains(redaction.collection) {
            continue;
        }
        match stamps.payload() {
            Some(payload) => in_stamp(redaction, &stamps, &stamp, &payload, &mut erased)?,
            None => in_rows(redaction, stamp.segment, stamp.xid, &mut erased)?,
        }
    }
    for (prepared, _) in prepared::unstamped()? {
        in_rows(redaction, prepared.segment, prepared.xid as u64, &mut erased)?;
    }
    if let Some(row) = buffer::erase(redaction)? {
        erased.rows += 1;
        erased.row = Some(row);
    }
    if let Some(segment) = buffer::written_to() {
        in_rows(redaction, segment, append::top_xid(), &mut erased)?;
    }
    Ok(erased)
}

fn in_stamp(
    redaction: &Redaction,
    stamps: &Stamps,
    stamp: &Stamp,
    payload: &[u8],
    erased: &mut Erased,
) -> Result<()> {
    let mut changes = transaction::decode(payload)?;
    if redaction.apply(&mut changes) {
        let row = stamps.row().with(stamps::PAYLOAD, shapes::encode(&changes)?);
        append::replace(segment::stamp_table(stamp.segment)?, &row)?;
        erased.note(stamp.segment, redaction.key_of_row(&changes));
    }
    Ok(())
}

fn in_rows(redaction: &Redaction, segment: usize, xid: u64, erased: &mut Erased) -> Result<()> {
    let mut scan = runs::open(segment, xid)?;
    while scan.next() {
        let mut changes = transaction::decode_row(&scan)?;
        if redaction.apply(&mut changes) {
            let row = scan.row().with(runs::PAYLOAD, shapes::encode(&changes)?);
            append::replace(segment::change_table(segment)?, &row)?;
            erased.note(segment, redaction.key_of_row(&changes));
        }
    }
    Ok(())
}

impl Erased {
    fn note(&mut self, segment: usize, row: Option<Image>) {
        self.rows += 1;
        self.segments.insert(segment);
        self.row = self.row.take().or(row);
    }
}
