//! Minting: from what the caller asks for to a signed token.
//!
//! Runs in backends. It writes nothing and takes no transaction id: it works in read-only
//! transactions and on standbys. The token starts where the calling statement's snapshot ends.

use event_source_model::source::{Definition, Named, Set, Source, Types, Watch};
use pgrx::datum::Interval;
use pgrx::pg_sys;

use super::collection::Collection;
use super::key::{self, Argument};
use super::resolve::{self, Target};
use super::{filter, index, keys, lifetime, literal, names, privileges};
use crate::error::{Error, Kind, Result};
use crate::order;
use crate::pg::relation::Relation;

/// What a source is asked for by.
pub(super) enum Asked {
    Name(String),
    Relation(pg_sys::Oid),
    /// A row of a table, as a composite datum.
    Row(pg_sys::Datum),
}

/// How the set is narrowed, and for how long.
#[derive(Default)]
pub(crate) struct Narrowing {
    pub filter: Option<String>,
    pub params: Option<Vec<Option<String>>>,
    pub fields: Option<Vec<Option<String>>>,
    pub watch: Option<Vec<Option<String>>>,
    /// See [`Watch::of_rows`].
    pub of_rows: bool,
    pub types: Option<Vec<Option<String>>>,
    pub expires_in: Option<Interval>,
}

/// A call of `event_source(...)`.
pub(super) struct Request {
    pub asked: Asked,
    pub terms: Option<Argument>,
    pub key: Option<Argument>,
    pub narrowing: Narrowing,
}

/// Makes the token.
pub(super) fn mint(request: Request) -> Result<String> {
    let (target, row) = match request.asked {
        Asked::Name(name) => (resolve::target(resolve::relation_of_name(&name)?)?, None),
        Asked::Relation(relation) => (resolve::target(relation)?, None),
        Asked::Row(row) => {
            // SAFETY: PostgreSQL passes a composite datum.
            let (row_type, fields) = unsafe { literal::fields(row) };
            (resolve::table_of_row(row_type)?, Some(fields))
        }
    };
    // Held until the token is made: neither the index nor a column may go away under it.
    let table = Relation::open(target.table(), pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    let set = match row {
        Some(row) => Set::Row { key: key::key_of_row(target.table(), &row)? },
        None => set(&target, request.terms, request.key)?,
    };
    let definition = define(target.collection(), &table, set, &request.narrowing)?;
    token(definition, request.narrowing.expires_in)
}

/// The definition of a set of a captured table, which is open and locked, as the current user may see
/// it.
///
/// # Errors
/// What the narrowing names is not there, or the user may not see it.
pub(crate) fn define(
    collection: &Collection,
    table: &Relation,
    set: Set,
    narrowing: &Narrowing,
) -> Result<Definition> {
    // SAFETY: reads the session's state.
    let role = unsafe { pg_sys::GetUserId() };
    let columns = |parameter, names: &Option<Vec<_>>| -> Result<_> {
        names.as_deref().map(|n| names::columns(table.oid(), parameter, n)).transpose()
    };
    let definition = Definition {
        collection: collection.id,
        generation: collection.generation(),
        set,
        filter: match (&narrowing.filter, &narrowing.params) {
            (Some(text), params) => {
                Some(filter::parse(text, params.as_deref().unwrap_or_default(), table)?)
            }
            (None, Some(_)) => {
                return Err(Error::new(Kind::InvalidParameter, "params needs a filter"));
            }
            (None, None) => None,
        },
        fields: columns("fields", &narrowing.fields)?,
        projection: None,
        watch: columns("watch", &narrowing.watch)?
            .map(|columns| Watch { columns, of_rows: narrowing.of_rows }),
        types: narrowing.types.as_deref().map_or(Ok(Types::ALL), types)?,
        every_delete: false,
        role: Named {
            oid: role.to_u32(),
            name: names::role_name(role)
                .ok_or_else(|| Error::new(Kind::UndefinedObject, "the current role is gone"))?,
        },
    };
    privileges::require_own(role, &definition, table.oid())?;
    Ok(definition)
}

/// The token of a definition, whose table is locked: it starts where the statement's snapshot ends.
///
/// # Errors
/// It would be too long, or the snapshot is too old.
pub(crate) fn token(definition: Definition, expires_in: Option<Interval>) -> Result<String> {
    let table = Collection::of(&definition)?.relation;
    let watched = definition.watch.iter().flat_map(|watch| &watch.columns);
    let numbered = definition.fields.iter().flatten().chain(watched);
    let name = |&number| names::column_name(table, number);
    let columns = numbered.map(name).collect::<Option<_>>();
    let index = match &definition.set {
        Set::Index { index, .. } => index::shape_by_names(pg_sys::Oid::from(index.oid)),
        _ => None,
    };
    keys::sign(&Source {
        // Positive, so that it is the same number in a bigint.
        id: u64::from_be_bytes(keys::random()?) >> 1,
        history: order::history_id(),
        cluster: order::history::cluster_id(),
        definition,
        columns: columns.expect("found by name just now, in a table that is locked"),
        index,
        expires: match expires_in {
            Some(lifetime) => lifetime::end(lifetime)?,
            None => crate::settings::token_lifetime_micros().map(|l| order::now() + l),
        },
        start: order::start_position()?,
    })
}

/// The set of one row of a captured table.
///
/// # Errors
/// The table has no primary key, or the key is none.
pub(crate) fn row(table: pg_sys::Oid, key: Argument) -> Result<Set> {
    Ok(Set::Row { key: key::key(table, key)? })
}

/// The set of an index of a captured table with these terms.
///
/// # Errors
/// The index has no equality, or the terms are not of its columns' types.
pub(crate) fn index_set(index: pg_sys::Oid, terms: Argument) -> Result<Set> {
    set(&resolve::target(index)?, Some(terms), None)
}

fn set(target: &Target, terms: Option<Argument>, key: Option<Argument>) -> Result<Set> {
    match (target, terms, key) {
        (_, Some(_), Some(_)) => {
            Err(Error::new(Kind::InvalidParameter, "terms and key exclude each other"))
        }
        (Target::Table { .. }, Some(_), None) => {
            Err(Error::new(Kind::WrongObjectType, "terms need an index, not a table")
                .hint("name an index whose leading key columns they are, or use a filter"))
        }
        (Target::Index { .. }, None, Some(_)) => {
            Err(Error::new(Kind::WrongObjectType, "key needs a table, not an index")
                .hint("for an index write terms => ARRAY[...]"))
        }
        (Target::Table { .. }, None, None) => Ok(Set::Collection),
        (Target::Table { table, .. }, None, Some(key)) => row(*table, key),
        (Target::Index { oid, index, .. }, terms, None) => {
            let named = names::named_relation(*oid)?;
            let terms = key::terms(index, &named.name, terms)?;
            Ok(Set::Index { index: named, shape: index.shape, terms })
        }
    }
}

fn types(names: &[Option<String>]) -> Result<Types> {
    let mut types = Types { add: false, update: false, remove: false };
    let refused = |message: String| {
        Err(Error::new(Kind::InvalidParameter, message).hint("types are add, update and remove"))
    };
    if names.is_empty() {
        return refused("types must not be empty".to_owned());
    }
    for name in names {
        match name.as_deref() {
            Some("add") => types.add = true,
            Some("update") => types.update = true,
            Some("remove") => types.remove = true,
            Some(other) => return refused(format!("unknown event type \"{other}\"")),
            None => return refused("types must not contain nulls".to_owned()),
        }
    }
    Ok(types)
}
