//! Terms of an index set and keys of a row, as a token keeps them.
//!
//! Runs in backends only.

use pgrx::pg_sys;

use super::index::{self, Index};
use super::literal::{self, Given};
use super::{names, written};
use crate::error::{Error, Kind, Result};

/// Terms or a key as the caller gave them.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    /// An array literal for terms; the text of a key.
    Text(String),
    /// The terms, each of which is null or a text.
    Texts(Vec<Option<String>>),
    /// An array for terms; a value or a row for a key.
    Typed { value: pg_sys::Datum, of: pg_sys::Oid },
    /// Null of any type, where something was asked for.
    Null,
}

/// The terms for the leading key columns of an index; none of them for every row of it.
pub(super) fn terms(
    index: &Index,
    name: &str,
    given: Option<Argument>,
) -> Result<Vec<Option<String>>> {
    let elements = match given {
        None => return Ok(Vec::new()),
        Some(Argument::Null) => {
            return Err(Error::new(Kind::InvalidParameter, "terms must not be null")
                .hint("an element that is null means IS NULL; leave terms out for every row"));
        }
        Some(Argument::Text(text)) => {
            let array = literal::read(pg_sys::TEXTARRAYOID, &text)?;
            // SAFETY: the input function of text[] made it.
            unsafe { literal::elements(array, pg_sys::TEXTARRAYOID)? }
        }
        Some(Argument::Texts(texts)) => texts.into_iter().map(Given::from).collect(),
        // SAFETY: PostgreSQL passes an array of this type.
        Some(Argument::Typed { value, of }) => unsafe { literal::elements(value, of)? },
    };
    if elements.len() > index.keys {
        return Err(Error::new(
            Kind::InvalidParameter,
            format!("{} terms for index {name}, which has {}", elements.len(), columns(index.keys)),
        )
        .detail(format!("its key columns are {}", index::key_names(index))));
    }
    let owner = names::owner(index.table);
    elements.iter().zip(&index.key_types).map(|(term, &of)| term.canonical(of, owner)).collect()
}

/// The key of a row, from what the caller gave for it.
pub(super) fn key(table: pg_sys::Oid, given: Argument) -> Result<Vec<String>> {
    let primary = primary_key(table)?;
    let parts = match given {
        Argument::Null => return Err(Error::new(Kind::InvalidParameter, "key must not be null")),
        Argument::Text(text) if primary.keys == 1 => vec![Given::Text(text)],
        Argument::Text(text) => json_parts(&primary, &text)?,
        Argument::Texts(texts) => texts.into_iter().map(Given::from).collect(),
        // A key of one composite column is given whole, every other row is the key's columns.
        Argument::Typed { value, of } if is_row(of) && primary.key_types != [of] => {
            // SAFETY: PostgreSQL passes a row of this type.
            let (_, fields) = unsafe { literal::fields(value) };
            fields.into_iter().map(|(_, value)| value).collect()
        }
        Argument::Typed { value, of } => vec![Given::Typed { value, of }],
    };
    if parts.len() != primary.keys {
        return Err(Error::new(
            Kind::InvalidParameter,
            format!("the key has {}, and {} given", columns(primary.keys), values(parts.len())),
        )
        .detail(format!("the primary key is ({})", index::key_names(&primary))));
    }
    texts(&primary, &parts)
}

/// The name of the only column of the primary key, if there is only one.
pub(crate) fn only_key_column(table: pg_sys::Oid) -> Option<String> {
    let primary = index::primary_key(table).filter(|primary| primary.keys == 1)?;
    names::column_name(table, primary.columns[0])
}

/// Whether the table has a primary key.
pub(crate) fn has_key(table: pg_sys::Oid) -> bool {
    index::primary_key(table).is_some()
}

/// The texts of a key's columns, from the one text of the key.
pub(crate) fn key_texts(table: pg_sys::Oid, text: &str) -> Result<Vec<String>> {
    key(table, Argument::Text(text.to_owned()))
}

/// The columns of the primary key and their types, as SQL writes them.
pub(crate) fn key_columns(table: pg_sys::Oid) -> Result<Vec<(String, String)>> {
    let primary = primary_key(table)?;
    let columns = primary.columns.iter().zip(&primary.key_types).take(primary.keys);
    let written = columns.map(|(&column, &of)| {
        let name = names::column_name(table, column)?;
        Some((pgrx::spi::quote_identifier(name), written::type_name(of)))
    });
    Ok(written.collect::<Option<_>>().expect("the columns of an index are there"))
}

/// The key of a row that is there: its primary key's columns, found by name, since a partition may
/// number them differently.
pub(super) fn key_of_row(table: pg_sys::Oid, row: &[(String, Given)]) -> Result<Vec<String>> {
    let primary = primary_key(table)?;
    let parts: Option<Vec<Given>> = primary
        .columns
        .iter()
        .take(primary.keys)
        .map(|&column| {
            let wanted = names::column_name(table, column)?;
            row.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone())
        })
        .collect();
    let parts = parts.ok_or_else(|| {
        Error::new(Kind::WrongObjectType, "the row does not have the columns of the primary key")
            .detail(format!("the primary key is ({})", index::key_names(&primary)))
    })?;
    texts(&primary, &parts)
}

fn primary_key(table: pg_sys::Oid) -> Result<Index> {
    match index::primary_key(table) {
        // A key WITHOUT OVERLAPS is a GiST index, which does not say which values are equal.
        Some(primary) if primary.access_method != pg_sys::BTREE_AM_OID => Err(Error::new(
            Kind::WrongObjectType,
            format!("the primary key of table {} is temporal", names::qualified(table)?),
        )
        .detail("an event source of one row needs a key whose values are equal or not")
        .hint("use a filter: filter => 'column = $1'")),
        Some(primary) => Ok(primary),
        None => Err(Error::new(
            Kind::WrongObjectType,
            format!("table {} has no primary key", names::qualified(table)?),
        )
        .detail("an event source of one row names it by its primary key")
        .hint("add a primary key, or use a filter or an index")),
    }
}

fn texts(primary: &Index, parts: &[Given]) -> Result<Vec<String>> {
    let owner = names::owner(primary.table);
    let texts: Option<Vec<String>> = parts
        .iter()
        .zip(&primary.key_types)
        .map(|(part, &of)| part.canonical(of, owner))
        .collect::<Result<_>>()?;
    texts.ok_or_else(|| {
        Error::new(Kind::InvalidParameter, "a value of the key must not be null")
            .detail(format!("the primary key is ({})", index::key_names(primary)))
    })
}

/// `[1,"a"]`: the one text form of a composite key.
fn json_parts(primary: &Index, text: &str) -> Result<Vec<Given>> {
    let parts: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|e| {
        Error::new(
            Kind::InvalidParameter,
            format!("the key has {} and must be a JSON array", columns(primary.keys)),
        )
        .detail(format!("{e}"))
        .hint("write it as '[1,2]' or ROW(1,2)")
    })?;
    Ok(parts.into_iter().map(json_part).collect())
}

fn json_part(value: serde_json::Value) -> Given {
    match value {
        serde_json::Value::Null => Given::Null,
        serde_json::Value::String(text) => Given::Text(text),
        other => Given::Text(other.to_string()),
    }
}

fn is_row(of: pg_sys::Oid) -> bool {
    // SAFETY: only looks at the catalogs' caches.
    unsafe { pg_sys::type_is_rowtype(of) }
}

fn columns(count: usize) -> String {
    if count == 1 { "1 column".to_owned() } else { format!("{count} columns") }
}

fn values(count: usize) -> String {
    if count == 1 { "1 value was".to_owned() } else { format!("{count} values were") }
}
