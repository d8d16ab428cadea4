//! What this transaction captured so far.
//!
//! A small transaction rides in its stamp: its changes wait here and become the payload of one row
//! at PRE_COMMIT. What does not fit is written as change rows, a run of them at a time. There is a level
//! for each savepoint that captured something: handed up when it is released, dropped when it is rolled
//! back, and written out only while it is the current one, so that its rows vanish with it; or by a savepoint
//! above it that is about to be released, and vanishes with it from then on.
//!
//! Runs in the writer's backend. [`forget`], [`subcommit`] and [`subabort`] are called where nothing
//! may fail.

use std::cell::RefCell;
use std::sync::atomic::Ordering::SeqCst;

use event_source_model::change::Change;
use event_source_model::image::Image;
use event_source_model::payload;
use event_source_model::redaction::Redaction;
use event_source_model::stamp::Stamp;
use event_source_model::value::Value;
use pgrx::pg_sys;
use smallvec::SmallVec;

use super::append::{self, Written};
use super::level::{Level, largest};
use super::prepared::{self, Prepared};
use super::{segment, shapes, transaction as logged};
use crate::error::{Error, Kind, Result};
use crate::order::prepared::{Patience, stamp_committed};
use crate::order::{self, ending, prime, shared, transaction};
use crate::pg::unguarded;

#[derive(Debug, Default)]
struct Buffer {
    /// From the outermost; each with a higher subtransaction id than the one before.
    levels: SmallVec<[Level; 1]>,
    /// Changes captured so far, the order in which triggers fired.
    fired: u64,
    /// Where this transaction's rows go, chosen at its first change.
    segment: Option<usize>,
    /// How many runs this transaction has written.
    runs: u32,
    /// A stamp is wanted even if nothing was captured.
    heartbeat: bool,
    written: Option<Written>,
    /// PREPARE has written what there was: nothing may follow.
    prepared: bool,
}

/// A change whose images were encoded by who captured it.
#[derive(Debug)]
pub struct Captured<'a> {
    pub kind: payload::Kind,
    pub collection: u64,
    pub command: u32,
    pub rewrite: bool,
    /// As [`payload::put_images`] writes them; the shapes are in the log.
    pub images: &'a [u8],
    /// How many values they have in all.
    pub values: usize,
}

thread_local! {
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

impl Captured<'_> {
    /// What was captured, read again.
    ///
    /// # Errors
    /// Those of finding the shapes.
    pub fn change(&self) -> Result<Change> {
        let mut level = Level::of(0);
        level.push(self, 0);
        Ok(logged::decode(&level.payload)?.pop().expect("one was written"))
    }
}

/// Logs a change in this transaction.
///
/// # Errors
/// As [`push_captured`].
pub fn push(change: &Change) -> Result<()> {
    let mut images = Vec::new();
    shapes::name(|id| payload::put_images(change, id, &mut images))?;
    let sides = change.before.iter().chain(&change.after);
    push_captured(&Captured {
        kind: payload::kind(change),
        collection: change.collection,
        command: change.command,
        rewrite: change.rewrite,
        images: &images,
        values: sides.map(|side| side.image.values.len()).sum(),
    })
}

/// Logs a change in this transaction.
///
/// # Errors
/// When there is no shared clock. Writing rows may raise PostgreSQL's own errors.
pub fn push_captured(captured: &Captured<'_>) -> Result<()> {
    prime::prime()?;
    // SAFETY: in a transaction.
    if transaction::stamped() && unsafe { pg_sys::GetCurrentTransactionNestLevel() } > 1 {
        // A stamp written here would lack this savepoint's level, and go with its rollback.
        return Err(Error::new(
            Kind::WrongTransaction,
            "cannot change a captured table in a savepoint while the transaction commits",
        )
        .hint("name event_source first in shared_preload_libraries"));
    }
    if BUFFER.with_borrow(|buffer| buffer.prepared) {
        // Whoever stamps this transaction would not know of it.
        return Err(Error::new(
            Kind::WrongTransaction,
            "cannot change a captured table while the transaction is being prepared",
        )
        .hint("name event_source first in shared_preload_libraries"));
    }
    let current = unguarded::current_subtransaction();
    let full = BUFFER.with_borrow_mut(|buffer| {
        let fired = buffer.fired;
        buffer.fired += 1;
        buffer.ensure_segment()?;
        let most = largest(buffer.runs);
        let level = buffer.level(current);
        level.push(captured, fired);
        Result::Ok(level.payload.len() > most)
    })?;
    if full && !transaction::stamped() {
        write_out(current)?;
    }
    if transaction::stamped() {
        // Another library's PRE_COMMIT ran after ours and wrote a captured table.
        stamp()?;
    }
    Ok(())
}

/// Makes this transaction take a stamp even if it captures nothing.
pub fn heartbeat() -> Result<()> {
    prime::prime()?;
    BUFFER.with_borrow_mut(|buffer| {
        buffer.heartbeat = true;
        buffer.ensure_segment()
    })?;
    // A stamp needs a transaction id, which a transaction without one would get too late.
    // SAFETY: in a transaction that may write.
    unsafe { pg_sys::GetTopTransactionId() };
    Ok(())
}

/// Whether this transaction would be stamped if it committed now.
pub fn has_captured() -> bool {
    BUFFER.with_borrow(|buffer| buffer.heartbeat || buffer.levels.iter().any(|l| l.changes > 0))
}

/// Erases from what waits here; gives the row, with its key alone, if anything was of it.
///
/// # Errors
/// Those of reading and writing the log; what waits here is then as it was.
pub fn erase(redaction: &Redaction) -> Result<Option<Image>> {
    let mut row = None;
    for level in 0..BUFFER.with_borrow(|buffer| buffer.levels.len()) {
        // Not borrowed meanwhile: the shapes of what is left are read from the log and written to it.
        let waiting = BUFFER.with_borrow(|buffer| buffer.levels[level].payload.clone());
        let mut changes = logged::decode(&waiting)?;
        if redaction.apply(&mut changes) {
            row = row.or_else(|| redaction.key_of_row(&changes));
            let left = shapes::encode(&changes)?;
            BUFFER.with_borrow_mut(|buffer| buffer.levels[level].payload = left);
        }
    }
    Ok(row)
}

/// The segment to which this transaction has written change rows.
pub fn written_to() -> Option<usize> {
    BUFFER.with_borrow(|buffer| {
        buffer.segment.filter(|_| buffer.levels.iter().any(|level| level.spilled))
    })
}

/// PRE_PREPARE: writes everything out, and the row from which another transaction will make the
/// stamp. Says whether there was anything.
pub fn before_prepare() -> Result<bool> {
    if !has_captured() {
        return Ok(false);
    }
    let top = BUFFER.with_borrow(|buffer| {
        let level = buffer.levels.first().filter(|level| level.changes > 0);
        level.map(|level| level.subtransaction)
    });
    if let Some(level) = top {
        write_out(level)?;
    }
    let row = BUFFER.with_borrow_mut(|buffer| {
        buffer.prepared = true;
        let segment = buffer.ensure_segment()?;
        let level = buffer.levels.first();
        Result::Ok(Prepared {
            xid: append::top_xid() as i64,
            prepared_at: shared::get()?.clock.tick(order::now()),
            segment,
            collections: level.map_or(Vec::new(), |l| l.collections.to_vec()),
            changes: level.map_or(0, |l| l.changes),
            by_key: level.is_some_and(Level::is_huge),
        })
    })?;
    prepared::Table::to_change()?.insert(row);
    Ok(true)
}

/// A savepoint is about to be released: if it and the level below would be too much together, they are
/// written now, while it is still the current one. From here on it ends as that level does.
pub fn before_subcommit(
    mine: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
) -> Result<()> {
    let too_much = BUFFER.with_borrow_mut(|buffer| {
        let most = largest(buffer.runs);
        let (child, below) = buffer.levels.split_last_mut()?;
        let below = below.last().filter(|below| below.subtransaction == parent)?;
        let together = child.payload.len() + below.payload.len() > most;
        if child.subtransaction != mine || !together {
            return None;
        }
        // The level below keeps its part until this savepoint is released, which may still fail.
        child.payload.splice(..0, below.payload.iter().copied());
        child.has_below = true;
        Some(())
    });
    if too_much.is_some() { write_out(mine) } else { Ok(()) }
}

/// A savepoint was released: its level is the parent's now.
pub fn subcommit(mine: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.levels.last().is_none_or(|l| l.subtransaction != mine) {
            return;
        }
        let below = buffer.levels.len().checked_sub(2);
        match below.filter(|&at| buffer.levels[at].subtransaction == parent) {
            Some(at) => {
                let child = buffer.levels.pop().expect("checked above");
                buffer.levels[at].absorb(child);
            }
            None => {
                let child = buffer.levels.last_mut().expect("checked above");
                child.subtransaction = parent;
            }
        }
    });
}

/// A savepoint was rolled back: what it captured never happened.
pub fn subabort(mine: pg_sys::SubTransactionId) {
    BUFFER.with_borrow_mut(|buffer| buffer.levels.retain(|l| l.subtransaction < mine));
}

/// The transaction ended.
pub fn forget() {
    // A process that ends in the middle of a push may still hold the buffer; it needs it no more.
    BUFFER.with(|buffer| {
        if let Ok(mut buffer) = buffer.try_borrow_mut() {
            *buffer = Buffer::default();
        }
    });
}

/// PRE_COMMIT of a transaction that captured something, and again for what is captured after it: takes
/// a stamp and writes its row; a row of an earlier stamp of this transaction is taken back.
pub fn stamp() -> Result<()> {
    // By now every savepoint is released, so what is left is one level at most.
    let (large, segment, earlier) = BUFFER.with_borrow_mut(|buffer| {
        buffer.ensure_segment().map(|segment| {
            let large = buffer.levels.first().filter(|l| !l.is_small()).map(|l| l.subtransaction);
            (large, segment, buffer.written.take())
        })
    })?;
    if let Some(written) = earlier {
        append::take_back(written);
    }
    if let Some(level) = large {
        write_out(level)?;
    }
    let has_changes = BUFFER.with_borrow(|b| b.levels.iter().any(|l| l.changes > 0));
    if has_changes && !crate::settings::prepared_unseen() {
        // What this transaction may depend on comes before it.
        stamp_committed(Patience::Wait)?;
    }
    let taken = transaction::take_stamp(has_changes)?;
    fold_newest(segment, taken.txn_ts)?;
    // Not borrowed while the row is written: FATAL there aborts the subtransactions without
    // unwinding, and their callbacks need the buffer.
    let (stamp, payload) = BUFFER.with_borrow_mut(|buffer| {
        let waiting = buffer.levels.first_mut().filter(|l| !l.spilled && !l.payload.is_empty());
        // Lent for as long as it takes: what is captured later is stamped together with it.
        let payload = waiting.map(|level| std::mem::take(&mut level.payload));
        let level = buffer.levels.first();
        let stamp = Stamp {
            txn_ts: taken.txn_ts,
            xid: append::top_xid(),
            closed: taken.closed,
            history: order::history_id(),
            segment,
            collections: level.map_or(&[][..], |l| &l.collections).into(),
            changes: level.map_or(0, |l| l.changes),
            by_key: level.is_some_and(Level::is_huge),
            floor: false,
            committed_at: taken.at,
        };
        (stamp, payload)
    });
    let written = append::stamp(&stamp, payload.as_deref())?;
    BUFFER.with_borrow_mut(|buffer| {
        buffer.written = Some(written);
        if let (Some(level), Some(payload)) = (buffer.levels.first_mut(), payload) {
            level.payload = payload;
        }
    });
    Ok(())
}

/// Writes what waits in a level as a run.
fn write_out(subtransaction: pg_sys::SubTransactionId) -> Result<()> {
    let (segment, payload) = BUFFER.with_borrow_mut(|buffer| {
        let segment = buffer.ensure_segment()?;
        Result::Ok((segment, buffer.level(subtransaction).take()))
    })?;
    if payload.is_empty() {
        return Ok(());
    }
    let number = BUFFER.with_borrow_mut(|buffer| {
        buffer.runs += 1;
        buffer.runs
    });
    append::run(segment, number, &payload)
}

/// Before the row exists: whoever can see the row must not skip its segment.
pub fn fold_newest(segment: usize, txn_ts: i64) -> Result<()> {
    // SAFETY: set when the backend connected.
    if let Some(entry) = shared::get()?.database(unsafe { pg_sys::MyDatabaseId }) {
        entry.newest[segment].fetch_max(txn_ts, SeqCst);
    }
    Ok(())
}

impl Buffer {
    fn ensure_segment(&mut self) -> Result<usize> {
        if let Some(segment) = self.segment {
            return Ok(segment);
        }
        ending::await_it();
        let current = segment::current()?;
        self.segment = Some(current);
        Ok(current)
    }

    /// The level of a subtransaction, which is the current one or exists.
    fn level(&mut self, subtransaction: pg_sys::SubTransactionId) -> &mut Level {
        let at = match self.levels.iter().position(|l| l.subtransaction == subtransaction) {
            Some(at) => at,
            None => {
                self.levels.push(Level::of(subtransaction));
                self.levels.len() - 1
            }
        };
        &mut self.levels[at]
    }
}

/// About how many bytes an image holds in memory.
pub fn image_size(image: &Image) -> usize {
    image.values.iter().map(value_size).sum()
}

fn value_size(value: &Value) -> usize {
    let inside = match value {
        Value::Numeric(s) | Value::Text(s) | Value::Json(s) => s.len(),
        Value::Bytes(b) => b.len(),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(fields) => fields.iter().map(|(n, v)| n.len() + value_size(v)).sum(),
        _ => 0,
    };
    inside + size_of::<Value>()
}
