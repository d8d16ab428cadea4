//! The SELECT that reads a set: names are quoted, values are parameters.
//!
//! It is planned and run as the owner of the table, since planning evaluates what is constant in the table's indexes and
//! checks, and the conditions of an index set are the index's. A filter is another role's: it stands in the statement only
//! where that calls nothing that an ordinary role has written ([`super::filtered`]).

use event_source_model::source::{Definition, Set};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::quote_identifier;

use super::filtered::Filtered;
use super::sorted::Sorting;
use crate::capture::Selected;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;
use crate::source::written::{self, Column, Written};
use crate::source::{self, literal};

/// A statement and its parameters, of the types of what they are compared with.
pub(super) struct Select<'a> {
    pub(super) text: String,
    pub(super) values: Vec<DatumWithOid<'a>>,
}

impl Select<'_> {
    /// Reads `limit` rows behind the key `after`: the columns selected, those that a filter looks at, whether the filter in
    /// the statement holds, and the key as an array of texts.
    ///
    /// Called as the owner of the table: the values are read by the table's types.
    pub(super) fn of(
        definition: &Definition,
        table: &Relation,
        columns: &Columns,
        after: Option<&[String]>,
        limit: u32,
    ) -> Result<Self> {
        let mut select = Self { text: String::new(), values: Vec::new() };
        let key = written::primary_key(table.oid())?;
        let order: Vec<&str> = key.keys.iter().map(|column| &*column.expression).collect();
        // By the output functions of their types: a cast to text may be somebody's own.
        let texts: Vec<String> =
            order.iter().map(|column| format!("pg_catalog.format('%s', {column})")).collect();
        let set = select.set(&definition.set, table, &key)?;
        let behind = match after {
            Some(after) => select.behind(&key, after)?,
            None => "true".to_owned(),
        };
        select.text = format!(
            "select {}, coalesce(({}), false), array[{}] from {} \
             where {set} and {behind} order by {} limit {limit}",
            columns.names,
            columns.filter,
            texts.join(", "),
            source::qualified(table.oid())?,
            order.join(", "),
        );
        Ok(select)
    }

    /// Reads the rows for which the filter in the statement holds: the columns selected, those that another filter looks
    /// at.
    pub(super) fn sorted(
        definition: &Definition,
        table: &Relation,
        columns: &Columns,
        sorting: &Sorting,
    ) -> Result<Self> {
        let mut select = Self { text: String::new(), values: Vec::new() };
        let key = written::primary_key(table.oid())?;
        let chosen = sorting.by.iter().map(|(column, descending)| {
            format!("{} {}", quote_identifier(column), if *descending { "desc" } else { "asc" })
        });
        let order: Vec<String> =
            chosen.chain(key.keys.iter().map(|column| column.expression.clone())).collect();
        let set = select.set(&definition.set, table, &key)?;
        let bounds = if columns.is_filtered_by_row {
            String::new()
        } else {
            let limit = sorting.limit.map_or("all".to_owned(), |limit| limit.to_string());
            format!("limit {limit} offset {}", sorting.skip)
        };
        select.text = format!(
            "select {} from {} where {set} and ({}) order by {} {bounds}",
            columns.names,
            source::qualified(table.oid())?,
            columns.filter,
            order.join(", "),
        );
        Ok(select)
    }

    fn set(&mut self, set: &Set, table: &Relation, key: &Written) -> Result<String> {
        match set {
            Set::Collection => Ok("true".to_owned()),
            Set::Row { key: values } => {
                let values: Vec<Option<String>> = values.iter().cloned().map(Some).collect();
                self.equal(&key.keys, &values)
            }
            Set::Index { index, terms, .. } => {
                let index = written::index(index, table.oid())?;
                Ok(format!("({}) and {}", index.predicate, self.equal(&index.keys, terms)?))
            }
        }
    }

    /// The first columns are equal to the values.
    fn equal(&mut self, columns: &[Column], values: &[Option<String>]) -> Result<String> {
        let mut conditions = vec!["true".to_owned()];
        for (column, value) in columns.iter().zip(values) {
            let left = &column.expression;
            conditions.push(match (value, &column.equal) {
                (None, _) => format!("{left} is null"),
                (Some(value), Some(equal)) => {
                    format!("{left} operator({equal}) {}", self.value(value, column.of)?)
                }
                (Some(_), None) => return Err(unordered(left)),
            });
        }
        Ok(conditions.join(" and "))
    }

    /// The key is behind that one, in the order of its index.
    fn behind(&mut self, key: &Written, after: &[String]) -> Result<String> {
        if key.keys.len() != after.len() {
            return Err(Error::new(Kind::InvalidCursor, "the table has another primary key"));
        }
        let (mut names, mut values, mut greater) = (Vec::new(), Vec::new(), None);
        for (column, value) in key.keys.iter().zip(after) {
            // A comparison of rows has one operator for all columns.
            let operator = column.greater.as_ref().ok_or_else(|| unordered(&column.expression))?;
            if greater.replace(operator).is_some_and(|other| other != operator) {
                return Err(unordered(&column.expression));
            }
            names.push(&*column.expression);
            values.push(self.value(value, column.of)?);
        }
        let greater = greater.expect("a primary key has a column");
        Ok(format!("row({}) operator({greater}) row({})", names.join(", "), values.join(", ")))
    }

    /// A parameter of that type.
    fn value(&mut self, text: &str, of: pg_sys::Oid) -> Result<String> {
        let value = literal::read(of, text)?;
        // SAFETY: the type's own input function made it, in memory that lives as long as the statement is made and run.
        self.values.push(unsafe { DatumWithOid::new(value, of) });
        Ok(format!("${}", self.values.len()))
    }
}

/// What a statement reads.
#[derive(Debug)]
pub(super) struct Columns {
    /// The columns selected, then those that a filter looks at which is asked of each row.
    names: String,
    /// The filter that stands in the statement.
    filter: String,
    is_filtered_by_row: bool,
}

impl Columns {
    pub(super) fn of(selected: &Selected, filtered: &Filtered) -> Self {
        let looked_at = filtered.looked_at().into_iter().flat_map(|read| &read.shape().columns);
        let all = selected.shape().columns.iter().chain(looked_at);
        let names: Vec<String> = all.map(|column| quote_identifier(&column.name)).collect();
        Self {
            names: names.join(", "),
            filter: filtered.statement(),
            is_filtered_by_row: filtered.looked_at().is_some(),
        }
    }
}

/// Fails for what is no key of the table. Called as its owner.
pub(super) fn check_key(table: &Relation, key: &[String]) -> Result<()> {
    let columns = written::primary_key(table.oid())?.keys;
    columns.iter().zip(key).try_for_each(|(column, text)| literal::read(column.of, text).map(drop))
}

fn unordered(column: &str) -> Error {
    Error::new(
        Kind::FeatureNotSupported,
        format!("rows cannot be read in the order of column {column}"),
    )
    .detail("the operators of the key's columns are not those of one schema")
}
