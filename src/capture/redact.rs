//! `event_source.redact`: a row's past goes from the log, and subscribers are told.
//!
//! Runs in the caller's backend and transaction. The row is locked first, so that nobody writes
//! its past while it is erased.

use event_source_model::change::{Change, RowVersion, Side};
use event_source_model::image::Image;
use event_source_model::redaction::Redaction;
use pgrx::prelude::*;

use super::register::with_rights;
use super::table::Table;
use super::tree::{check_whole, qualified_name};
use super::{catalog, scan};
use crate::cage::Acting;
use crate::error::{Error, Kind, Result, raised};
use crate::log::{buffer, erase, retention};
use crate::pg::relation::Relation;
use crate::source;

/// `event_source.redact(relation, key, fields)`; how many rows of the log were rewritten.
#[pg_extern(sql = false)]
fn redact(
    relation: Option<pg_sys::Oid>,
    key: Option<&str>,
    fields: Option<Vec<Option<String>>>,
) -> i64 {
    let (Some(relation), Some(key)) = (relation, key) else {
        let message = "relation and key must not be null";
        raised(Err(Error::new(Kind::InvalidParameter, message)))
    };
    raised(erase_past(relation, key, fields.as_deref()))
}

fn erase_past(relation: pg_sys::Oid, key: &str, fields: Option<&[Option<String>]>) -> Result<i64> {
    crate::order::writable()?;
    check_whole(relation)?;
    let Some(collection) = catalog::capture_of(relation) else {
        let message = format!("table {} is not captured", qualified_name(relation)?);
        return Err(Error::new(Kind::NotCaptured, message));
    };
    let columns = fields.map(|names| source::columns(relation, "fields", names)).transpose()?;
    let redaction = Redaction { collection, key: source::key_texts(relation, key)?, columns };
    let now = lock_row(relation, &redaction)?;
    // One at a time: two that rewrote the same row of the log would fail each other.
    lock_log()?;
    let erased = erase::erase(&redaction)?;
    note(&erased)?;
    if let Some(image) = now.or(erased.row) {
        tell(relation, collection, image)?;
    }
    retention::call_at_commit();
    Ok(erased.rows)
}

/// Locks the row, if it is there, and says what it is now.
fn lock_row(relation: pg_sys::Oid, redaction: &Redaction) -> Result<Option<Image>> {
    let found = {
        let opened = Relation::open(relation, pg_sys::RowShareLock as pg_sys::LOCKMODE);
        // SAFETY: the relation is open.
        let owner = unsafe { (*opened.rd_rel).relowner };
        let conditions: Vec<String> = source::key_columns(relation)?
            .iter()
            .zip(&redaction.key)
            .map(|((column, of), text)| {
                format!("t.{column} = {}::{of}", spi::quote_literal(text.as_str()))
            })
            .collect();
        let sql = format!(
            "select t.tableoid, t.ctid from {} as t where {} for update",
            qualified_name(relation)?,
            conditions.join(" and ")
        );
        let _owner = Acting::as_role(owner);
        Spi::connect_mut(|client| {
            let rows = client.update(sql.as_str(), None, &[])?;
            if rows.is_empty() {
                return Ok((None, None));
            }
            rows.first().get_two::<pg_sys::Oid, pg_sys::ItemPointerData>()
        })
        .map_err(|error: spi::SpiError| Error::new(Kind::Corrupted, error.to_string()))?
    };
    let (Some(leaf), Some(tid)) = found else { return Ok(None) };
    let leaf = Relation::open(leaf, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    let table = Table::of(&leaf);
    Ok(scan::image_at(&leaf, &table, tid))
}

/// Only one redaction at a time; readers, writers and the keeper's other work go on.
fn lock_log() -> Result<()> {
    let sql = "lock table event_source.erasure in share row exclusive mode";
    with_rights(|| Spi::connect_mut(|client| client.update(sql, None, &[]).map(drop)))
}

/// The keeper is to give these segments new files.
fn note(erased: &erase::Erased) -> Result<()> {
    let segments: Vec<i16> = erased.segments.iter().map(|&segment| segment as i16).collect();
    let sql = "insert into event_source.erasure (segment) select * from pg_catalog.unnest($1)";
    let arguments = [segments.into()];
    with_rights(|| Spi::connect_mut(|client| client.update(sql, None, &arguments).map(drop)))
}

/// Every source that shows the row as it is now, or whose set its key alone decides, gets an event.
fn tell(relation: pg_sys::Oid, collection: u64, image: Image) -> Result<()> {
    let version = RowVersion { table: relation.to_u32(), block: 0, offset: 0, made_by: None };
    // SAFETY: in a transaction that writes; marks the command id as used.
    let command = unsafe { pg_sys::GetCurrentCommandId(true) };
    buffer::push(&Change {
        collection,
        command,
        fired: 0,
        before: None,
        after: Some(Side { image, version }),
        rewrite: true,
    })
}
