//! The event trigger that keeps captured tables captured while their definition changes.
//!
//! After any DDL on tables: a new partition gets its triggers; the rows of an attached one become
//! rows of the collection, and those of a detached one stop being so; triggers that were switched
//! off, as `pg_restore --disable-triggers` does, are on again before anybody can write; what would
//! make a captured table one that cannot be captured is refused. Runs at the end of the command,
//! under its locks, in the backend of whoever runs it.

use std::ffi::CStr;

use pgrx::prelude::*;

use super::breaks;
use super::register::{AtWork, with_rights};
use super::scan::{Fate, push_all};
use super::table::Table;
use super::tree::{Tree, qualified_name};
use super::trigger::VERSION_1;
use crate::compat;
use crate::error::{Error, Kind, Result, raised};
use crate::pg::relation::Relation;

/// `event_source.on_ddl()`, the event trigger's function.
///
/// # Safety
/// Called by PostgreSQL.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_source_on_ddl(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: the caller's.
    raised(unsafe { Statement::of(fcinfo) }.and_then(look_after_captures));
    pg_sys::Datum::null()
}

/// Tells PostgreSQL how [`event_source_on_ddl`] is called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_event_source_on_ddl() -> *const pg_sys::Pg_finfo_record {
    &raw const VERSION_1
}

/// What of a statement matters here.
#[derive(Clone, Copy, Debug, Default)]
struct Statement {
    attaches: bool,
    detaches: bool,
    /// It makes a table, and cannot have changed the primary key of another: temporary tables are
    /// made all the time.
    only_creates: bool,
    /// It alters a table of the extension, as a restore does, where nothing is captured. To look at the
    /// others from there could be a deadlock: `pg_restore --jobs` alters two of them at the same time.
    is_ours: bool,
}

impl Statement {
    /// # Safety
    /// `fcinfo` is what PostgreSQL called the function with.
    unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Result<Self> {
        // SAFETY: the caller's; the context of an event trigger's call is EventTriggerData, and
        // says so; every node says what it is.
        unsafe {
            let context = (*fcinfo).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
                return Err(Error::new(Kind::WrongTransaction, "not called as an event trigger"));
            }
            let parsed = (*context.cast::<pg_sys::EventTriggerData>()).parsetree;
            if (*parsed).type_ != pg_sys::NodeTag::T_AlterTableStmt {
                let only_creates = (*parsed).type_ == pg_sys::NodeTag::T_CreateStmt;
                return Ok(Self { only_creates, ..Self::default() });
            }
            let altered = &*parsed.cast::<pg_sys::AlterTableStmt>();
            let schema = (*altered.relation).schemaname;
            if !schema.is_null() && CStr::from_ptr(schema) == c"event_source" {
                return Ok(Self { is_ours: true, ..Self::default() });
            }
            let commands = altered.cmds;
            let kinds = (0..pg_sys::list_length(commands))
                .map(|i| (*pg_sys::list_nth(commands, i).cast::<pg_sys::AlterTableCmd>()).subtype);
            Ok(kinds.fold(Self::default(), |statement, kind| Self {
                attaches: statement.attaches || compat::attaches_partition(kind),
                detaches: statement.detaches || compat::detaches_partition(kind),
                ..statement
            }))
        }
    }
}

fn look_after_captures(statement: Statement) -> Result<()> {
    if statement.is_ours {
        return Ok(());
    }
    let Some(_at_work) = AtWork::begin() else {
        return Ok(());
    };
    let arrived = if statement.attaches {
        "select event_source.arrived($1::oid::regclass, $2, true)"
    } else {
        "select event_source.arrived($1::oid::regclass, $2, false)"
    };
    if !statement.only_creates {
        breaks::after_ddl()?;
        keep_restored_on()?;
    }
    for (id, root) in touched()? {
        Tree::at_hand(root).check().map_err(|error| error.or_hint(release_hint(root)))?;
        // Something is committed, so that the worker looks again at the table's sources.
        crate::log::heartbeat()?;
        for leaf in oids(arrived, root, id)? {
            // Otherwise it is new and empty: what a restore fills is not yet captured.
            if statement.attaches {
                let relation = Relation::open(leaf, LOOK);
                push_all(&relation, &Table::of(&relation), id, Fate::Come)?;
            }
            tell("select event_source.watch($1::oid::regclass, $2)", leaf, id)?;
        }
        if statement.detaches {
            for leaf in oids("select event_source.departed($1::oid::regclass, $2)", root, id)? {
                let relation = Relation::open(leaf, LOOK);
                push_all(&relation, &Table::build(&relation, root, Some(id)), id, Fate::Go)?;
                drop(relation);
                tell("select event_source.unwatch($1::oid::regclass, $2)", leaf, id)?;
            }
        }
        if !oids("select event_source.keep_on($1::oid::regclass, $2)", root, id)?.is_empty() {
            let name = qualified_name(root)?;
            pgrx::notice!("triggers of event_source on captured table {name} stay on");
        }
    }
    Ok(())
}

fn keep_restored_on() -> Result<()> {
    with_rights(|| {
        let sql = "select event_source.keep_restored_on()";
        Spi::connect_mut(|client| client.update(sql, None, &[]).map(drop))
    })
}

/// What also helps whoever is refused to alter a captured table.
fn release_hint(root: pg_sys::Oid) -> String {
    let name = qualified_name(root).unwrap_or_else(|_| "the table".to_owned());
    format!("or end its capture: SELECT event_source.release({})", spi::quote_literal(name))
}

/// DDL holds a stronger lock on what it touches; this one is for what it merely leads us to.
const LOOK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// The captures that this command may have changed: id and table.
fn touched() -> Result<Vec<(u64, pg_sys::Oid)>> {
    with_rights(|| {
        Spi::connect_mut(|client| {
            let rows = client.update("select id, relid from event_source.touched()", None, &[])?;
            let captures = rows.map(|row| {
                let (id, relid) = (row.get::<i64>(1)?, row.get::<pg_sys::Oid>(2)?);
                Ok(id.map(|id| id as u64).zip(relid))
            });
            Ok(captures.collect::<spi::SpiResult<Vec<_>>>()?.into_iter().flatten().collect())
        })
    })
}

fn oids(sql: &str, relation: pg_sys::Oid, id: u64) -> Result<Vec<pg_sys::Oid>> {
    with_rights(|| {
        Spi::connect_mut(|client| {
            let arguments = [relation.into(), (id as i64).into()];
            let rows = client.update(sql, None, &arguments)?;
            let found = rows.map(|row| row.get::<pg_sys::Oid>(1));
            Ok(found.collect::<spi::SpiResult<Vec<_>>>()?.into_iter().flatten().collect())
        })
    })
}

fn tell(sql: &str, relation: pg_sys::Oid, id: u64) -> Result<()> {
    with_rights(|| {
        let arguments = [relation.into(), (id as i64).into()];
        Spi::connect_mut(|client| client.update(sql, None, &arguments).map(drop))
    })
}
