//! Which segment is written, and which is let go.
//!
//! It guarantees that the log stays within `event_source.retention` and
//! `event_source.max_log_size`, whichever is reached first, and that no writer or reader ever waits
//! for that. What is to be done is decided in `event_source_model::ring`; here it is measured and
//! done, by the keeper, a process that is started when there is something to look at. Writers only
//! count what they write ([`wrote`]).

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;

use event_source_model::ring::{Segment, Step};
use pgrx::prelude::*;

use super::{SEGMENTS, empty, rewrite, segment, stamps};
use crate::error::Result;
use crate::order::shared::{self, Database};
use crate::order::{ending, now, prime, wake};
use crate::pg::transaction;
use crate::settings;

/// The keeper looks after each such part of a segment that was written.
const PART: u64 = 4;
/// Steps of one visit: more than a whole ring needs. Whatever is left is for the next visit.
const MOST_STEPS: usize = 4 * SEGMENTS;

/// More than any part of a segment.
const MUCH: u64 = u64::MAX / 2;

thread_local! {
    static CALL: Cell<bool> = const { Cell::new(false) };
}

/// Whether so much was written that the keeper should look.
pub fn is_due(written: u64) -> bool {
    written >= much()
}

/// How much that is.
fn much() -> u64 {
    settings::log_policy().segment_bytes() / PART
}

/// Counts what a writer wrote, and has the keeper called when it is much.
pub(super) fn wrote(bytes: u64) -> Result<()> {
    let shared = shared::get()?;
    // SAFETY: set when the backend connected.
    let Some(entry) = shared.database(unsafe { pg_sys::MyDatabaseId }) else { return Ok(()) };
    let before = entry.written.fetch_add(bytes, SeqCst);
    let much = much();
    if before < much && before + bytes >= much {
        wake::set_latch(shared.launcher_proc.load(SeqCst));
    }
    Ok(())
}

/// Has the keeper called when this transaction commits: it erased something.
pub fn call_at_commit() {
    ending::await_it();
    CALL.set(true);
}

/// The transaction ended. Must not fail.
pub fn settle(committed: bool) {
    if !CALL.replace(false) || !committed {
        return;
    }
    let Ok(shared) = shared::get() else { return };
    // SAFETY: set when the backend connected.
    if let Some(entry) = shared.database(unsafe { pg_sys::MyDatabaseId }) {
        entry.written.fetch_max(MUCH, SeqCst);
        wake::set_latch(shared.launcher_proc.load(SeqCst));
    }
}

/// Looks after the log of this database until there is nothing left to do.
///
/// # Errors
/// What reading or emptying a segment gives; what was done before it stays done.
pub fn keep() -> Result<()> {
    if !transaction::run(|| {
        if !segment::exist() {
            return Ok(false);
        }
        prime::prime().map(|()| true)
    })? {
        return Ok(());
    }
    // SAFETY: set when the process connected.
    let Some(entry) = shared::get()?.database(unsafe { pg_sys::MyDatabaseId }) else {
        return Ok(());
    };
    let (mut stuck, mut unfinished) = (0, true);
    for _ in 0..MOST_STEPS {
        entry.written.store(0, SeqCst);
        let current = entry.segment.load(SeqCst) as usize;
        let segments = transaction::run(|| measure(stuck))?;
        match settings::log_policy().next_step(&segments, current, now()) {
            Step::Rest => match transaction::run(|| erased(&segments, current, stuck))? {
                Erased::Of(segment) => {
                    if !transaction::run(|| rewrite::rewrite(segment))? {
                        stuck |= 1 << segment;
                    }
                }
                Erased::OfTheWritten { free } => write_to(entry, free)?,
                Erased::Nothing { left } => {
                    unfinished = left || stuck != 0;
                    break;
                }
            },
            Step::WriteTo(segment) => write_to(entry, segment)?,
            Step::Empty { segment, early } => {
                if transaction::run(|| empty::empty(segment))? {
                    report(segment, early);
                } else {
                    stuck |= 1 << segment;
                }
            }
        }
    }
    entry.stuck.store(stuck, SeqCst);
    entry.unfinished.store(unfinished, SeqCst);
    entry.visits.fetch_add(1, SeqCst);
    Ok(())
}

fn write_to(entry: &Database, segment: usize) -> Result<()> {
    entry.segment.store(segment as u32, SeqCst);
    // The newest stamp says, after a restart, which segment is written.
    transaction::run(super::heartbeat)
}

/// Whether a segment from which something was erased can get new files.
enum Erased {
    Of(usize),
    /// Writers have to go elsewhere first.
    OfTheWritten {
        free: usize,
    },
    Nothing {
        /// Not yet.
        left: bool,
    },
}

fn erased(segments: &[Segment], current: usize, stuck: u32) -> Result<Erased> {
    let rewrite::Erasures { due, waiting } = rewrite::erasures()?;
    let mut others = due.iter().filter(|&&at| at != current && stuck & (1 << at) == 0);
    if let Some(&segment) = others.next() {
        return Ok(Erased::Of(segment));
    }
    let mut free = (0..SEGMENTS).filter(|&at| at != current && segments[at].is_empty());
    Ok(match free.next() {
        Some(free) if due.contains(&current) => Erased::OfTheWritten { free },
        _ => Erased::Nothing { left: !due.is_empty() || !waiting.is_empty() },
    })
}

fn report(segment: usize, early: bool) {
    if early {
        warning!(
            "event_source let changes go that are younger than event_source.retention (segment {segment}): raise event_source.max_log_size"
        );
    }
}

/// What every segment holds.
fn measure(stuck: u32) -> Result<Vec<Segment>> {
    (0..SEGMENTS)
        .map(|segment| {
            let tables = [segment::stamp_table(segment)?, segment::change_table(segment)?];
            Ok(Segment {
                bytes: tables.into_iter().map(bytes_of).sum(),
                span: stamps::span_ever(segment)?,
                stuck: stuck & (1 << segment) != 0,
            })
        })
        .collect()
}

/// All files of a table, with its indexes and what is stored beside it.
fn bytes_of(table: pg_sys::Oid) -> u64 {
    // SAFETY: called with the one OID that it takes.
    let size: Option<i64> = unsafe {
        pgrx::direct_function_call(pg_sys::pg_total_relation_size, &[Some(table.into())])
    };
    size.map_or(0, i64::unsigned_abs)
}

/// The segments that should be emptied and that somebody holds on to.
pub fn stuck(entry: &Database) -> Vec<i32> {
    let bits = entry.stuck.load(SeqCst);
    (0..SEGMENTS as i32).filter(|segment| bits & (1 << segment) != 0).collect()
}
