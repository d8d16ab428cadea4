//! Which rows a query means, as the definition of an event source: rows are read by it, and events told.

use event_source_filter::{Filter, text};
use event_source_model::query::{Failure, Fault, Name, Of, Rows, Shown, Span};
use event_source_model::source::{Definition, Projection, Set};
use pgrx::pg_sys;

use super::answer::failure;
use super::named;
use crate::error::Result as SourceResult;
use crate::matching::bounded;
use crate::pg::lock_wait::ShortLockWait;
use crate::pg::relation::Relation;
use crate::pg::role::ActingAs;
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
    let collection = named::collection(&rows.collection)?;
    let table = collection.relation;
    let span = rows.collection.span;
    let filter = rows.filter.as_ref();
    let filter =
        filter.map(|test| Filter::of(test, |name| named::column(table, name))).transpose()?;
    let (shown, projection) = shown(table, &rows.shown)?;
    let watch = asked.watch.map(|watch| columns(table, watch)).transpose()?;
    // A set that cannot be and a filter that cannot be have their own places.
    let set = match asked.key {
        Some(set) => set,
        None => set(&collection, &rows.of, asked.role)?,
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

fn set(collection: &Collection, of: &Of, role: pg_sys::Oid) -> Result<Set, Failure> {
    let table = collection.relation;
    match of {
        Of::All => Ok(Set::Collection),
        Of::Key { key, span } => {
            let text = text(key).ok_or_else(|| {
                Failure::new(Fault::InvalidArgument, "expected the id of a document", *span)
            })?;
            run(role, *span, || source::row(table, Argument::Text(text)))
        }
        Of::Index { index: name, terms } => {
            let index = named::index(table, name)?;
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
    shown: &Shown,
) -> Result<(Option<Names>, Option<Projection>), Failure> {
    let number = |name: &Name| -> Result<(String, i16), Failure> {
        let column = named::column(table, name)?;
        let number = source::columns(table, "fields", &[Some(column.clone())]);
        Ok((column, number.map_err(named::at(name))?[0]))
    };
    Ok(match shown {
        Shown::Document => (None, None),
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
    let outcome = bounded(|| {
        let _patience = ShortLockWait::at_most(rows::LOCK_WAIT);
        let _acting = ActingAs::restricted(role);
        body()
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
