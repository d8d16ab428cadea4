//! Which rows a query means, as the definition of an event source: rows are read by it, and events told.

use event_source_filter::{Filter, text};
use event_source_model::query::{Failure, Fault, Name, Of, Rows, Shown, Span};
use event_source_model::source::{Definition, Projection, Set};
use pgrx::pg_sys;

use super::answer::failure;
use super::named;
use crate::cage::account::{self, Payer};
use crate::cage::{self, Acting};
use crate::error::Result as SourceResult;
use crate::pg::lock_wait::ShortLockWait;
use crate::pg::relation::Relation;
use crate::rows;
use crate::source::{self, Argument, Collection, Narrowing};

/// Names of columns, none of which is null.
type Names = Vec<Option<String>>;

/// By whom rows are asked for, and what is known of them.
pub(super) struct Asked<'a> {
    pub role: pg_sys::Oid,
    pub watch: Option<&'a [Name]>,
    /// Of the first row of a set.
    pub key: Option<Set>,
}

/// The definition of the rows meant.
pub(super) fn define(rows: &Rows, asked: Asked<'_>) -> Result<Definition, Failure> {
    let (collection, index) = resolve(rows, &rows.of, asked.role)?;
    let table = collection.relation;
    let span = rows.collection.span;
    // Before anything is built or read for somebody who may not.
    source::require_some(asked.role, table).map_err(|error| failure(error, span))?;
    let filter = rows.filter.as_ref();
    let filter =
        filter.map(|test| Filter::of(test, |name| named::column(table, name))).transpose()?;
    let (shown, projection) = shown(table, rows, index)?;
    let watch = asked.watch.map(|watch| columns(table, watch)).transpose()?;
    // A set that cannot be and a filter that cannot be have their own places.
    let set = match asked.key {
        Some(set) => set,
        None => set(&collection, &rows.of, index, asked.role)?,
    };
    let (text, params, place) = match filter {
        Some(filter) => (Some(filter.text), Some(filter.values), filter.span),
        None => (None, None, span),
    };
    let narrowing = Narrowing {
        filter: text,
        params,
        fields: shown,
        watch,
        of_rows: true,
        ..Narrowing::default()
    };
    let mut definition = run(asked.role, place, || {
        let name = source::qualified(table)?;
        let seen = Collection::seen_by_statement(table, &name)?;
        let open = Relation::open(table, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        source::define(&seen, &open, set, &narrowing)
    })?;
    definition.projection = projection;
    Ok(definition)
}

/// The collection that is meant, and the index if it is one.
fn resolve(
    rows: &Rows,
    of: &Of,
    role: pg_sys::Oid,
) -> Result<(Collection, Option<pg_sys::Oid>), Failure> {
    match of {
        Of::Named { index, .. } => {
            let (collection, index) = named::any_index(index, role)?;
            Ok((collection, Some(index)))
        }
        Of::Index { index, .. } => {
            let collection = named::collection(&rows.collection, role)?;
            let index = named::index(collection.relation, index)?;
            Ok((collection, Some(index)))
        }
        Of::All | Of::Key { .. } => Ok((named::collection(&rows.collection, role)?, None)),
        Of::First { of, .. } => Ok((resolve(rows, of, role)?.0, None)),
    }
}

fn set(
    collection: &Collection,
    of: &Of,
    index: Option<pg_sys::Oid>,
    role: pg_sys::Oid,
) -> Result<Set, Failure> {
    let table = collection.relation;
    match of {
        Of::All => Ok(Set::Collection),
        Of::Key { key, span } => {
            let text = text(key).ok_or_else(|| {
                Failure::new(Fault::InvalidArgument, "expected the id of a document", *span)
            })?;
            run(role, *span, || source::row(table, Argument::Text(text)))
        }
        Of::Index { index: name, terms } | Of::Named { index: name, terms } => {
            let index = index.expect("found before, or refused");
            let terms = terms.iter().map(text).collect();
            run(role, name.span, || source::index_set(index, Argument::Texts(terms)))
        }
        Of::First { span, .. } => {
            Err(Failure::syntax("The first document of a document is not supported", *span))
        }
    }
}

/// The columns shown, and how, unless it is the whole row.
fn shown(
    table: pg_sys::Oid,
    rows: &Rows,
    index: Option<pg_sys::Oid>,
) -> Result<(Option<Names>, Option<Projection>), Failure> {
    let number = |name: &Name| -> Result<(String, i16), Failure> {
        let column = named::column(table, name)?;
        let number = source::columns(table, "fields", &[Some(column.clone())]);
        Ok((column, number.map_err(named::at(name))?[0]))
    };
    Ok(match &rows.shown {
        Shown::Document => (None, None),
        Shown::Covered => {
            let terms = match &rows.of {
                Of::Index { terms, .. } | Of::Named { terms, .. } => terms.len(),
                _ => 0,
            };
            let Some(covered) = source::covered(table, index, terms) else {
                return Ok((None, Some(Projection::Object(Vec::new()))));
            };
            let seen = covered.seen.into_iter().map(Some).collect();
            (Some(seen), Some(Projection::Object(covered.columns)))
        }
        Shown::Value(name) => {
            let (column, number) = number(name)?;
            (Some(vec![Some(column)]), Some(Projection::Value(number)))
        }
        Shown::Object(fields) => {
            let mut columns = Vec::new();
            let mut projected = Vec::new();
            for (shown, name) in fields {
                let (column, number) = number(name)?;
                columns.push(Some(column));
                projected.push((shown.clone(), number));
            }
            (Some(columns), Some(Projection::Object(projected)))
        }
    })
}

fn columns(table: pg_sys::Oid, names: &[Name]) -> Result<Names, Failure> {
    names.iter().map(|name| named::column(table, name).map(Some)).collect()
}

/// Runs what may call the role's code: for a time, as the role, in a subtransaction.
fn run<T>(
    role: pg_sys::Oid,
    span: Span,
    body: impl FnOnce() -> SourceResult<T>,
) -> Result<T, Failure> {
    let outcome = account::spend(Payer::of_statement(role), |longest| {
        cage::run_for(longest, || {
            let _patience = ShortLockWait::at_most(rows::LOCK_WAIT);
            let _acting = Acting::as_role(role);
            body()
        })
    });
    outcome.map_err(|error| {
        let raised = error.kind == crate::error::Kind::EvaluationFailed;
        let mut failure = failure(error, span);
        if raised {
            failure.fault = Fault::InvalidArgument;
        }
        failure
    })
}
