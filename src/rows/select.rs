//! The SELECT that reads a set: names are quoted, values are parameters.

use event_source_model::source::{Definition, Set};
use pgrx::spi::quote_identifier;

use super::sorted::Sorting;
use crate::capture::Selected;
use crate::error::{Error, Kind, Result};
use crate::pg::relation::Relation;
use crate::source::written::{self, Column, Written};
use crate::source::{self, filter};

/// A statement and its parameters, each of which is a text that the statement casts.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) text: String,
    pub(super) values: Vec<String>,
}

impl Select {
    /// Reads `limit` rows behind the key `after`: the columns selected, then whether the filter holds,
    /// then the key as an array of texts.
    pub(super) fn of(
        definition: &Definition,
        table: &Relation,
        columns: &Selected,
        after: Option<&[String]>,
        limit: u32,
    ) -> Result<Self> {
        let mut select = Self { text: String::new(), values: Vec::new() };
        let key = written::primary_key(table.oid())?;
        let names = columns.shape().columns.iter().map(|column| quote_identifier(&column.name));
        let names: Vec<String> = names.collect();
        let filter = match &definition.filter {
            Some(filter) => filter::written(filter, source::role(&definition.role)?, table)?,
            None => "true".to_owned(),
        };
        let order: Vec<&str> = key.keys.iter().map(|column| &*column.expression).collect();
        let texts: Vec<String> =
            order.iter().map(|column| format!("{column}::pg_catalog.text")).collect();
        let set = select.set(&definition.set, table, &key)?;
        let behind = match after {
            Some(after) => select.behind(&key, after)?,
            None => "true".to_owned(),
        };
        select.text = format!(
            "select {}, coalesce(({filter}), false), array[{}] from {} \
             where {set} and {behind} order by {} limit {limit}",
            names.join(", "),
            texts.join(", "),
            source::qualified(table.oid())?,
            order.join(", "),
        );
        Ok(select)
    }

    /// Reads the rows for which the filter holds: the columns selected.
    pub(super) fn sorted(
        definition: &Definition,
        table: &Relation,
        columns: &Selected,
        sorting: &Sorting,
    ) -> Result<Self> {
        let mut select = Self { text: String::new(), values: Vec::new() };
        let key = written::primary_key(table.oid())?;
        let names = columns.shape().columns.iter().map(|column| quote_identifier(&column.name));
        let names: Vec<String> = names.collect();
        let filter = match &definition.filter {
            Some(filter) => filter::written(filter, source::role(&definition.role)?, table)?,
            None => "true".to_owned(),
        };
        let chosen = sorting.by.iter().map(|(column, descending)| {
            format!("{} {}", quote_identifier(column), if *descending { "desc" } else { "asc" })
        });
        let order: Vec<String> =
            chosen.chain(key.keys.iter().map(|column| column.expression.clone())).collect();
        let set = select.set(&definition.set, table, &key)?;
        let limit = sorting.limit.map_or("all".to_owned(), |limit| limit.to_string());
        select.text = format!(
            "select {} from {} where {set} and ({filter}) order by {} limit {limit} offset {}",
            names.join(", "),
            source::qualified(table.oid())?,
            order.join(", "),
            sorting.skip,
        );
        Ok(select)
    }

    /// Reads nothing but the key itself: fails for what is no key of the table.
    pub(super) fn of_key(table: &Relation, key: &[String]) -> Result<Self> {
        let mut select = Self { text: String::new(), values: Vec::new() };
        let columns = written::primary_key(table.oid())?.keys;
        let values = columns.iter().zip(key).map(|(column, text)| select.value(text, &column.of));
        let values: Vec<String> = values.collect();
        select.text = format!("select {}", values.join(", "));
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
                    format!("{left} operator({equal}) {}", self.value(value, &column.of))
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
            values.push(self.value(value, &column.of));
        }
        let greater = greater.expect("a primary key has a column");
        Ok(format!("row({}) operator({greater}) row({})", names.join(", "), values.join(", ")))
    }

    /// A parameter of that type.
    fn value(&mut self, text: &str, of: &str) -> String {
        self.values.push(text.to_owned());
        format!("(${}::{of})", self.values.len())
    }
}

fn unordered(column: &str) -> Error {
    Error::new(
        Kind::FeatureNotSupported,
        format!("rows cannot be read in the order of column {column}"),
    )
    .detail("the operators of the key's columns are not those of one schema")
}
