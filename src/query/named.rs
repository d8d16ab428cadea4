//! Collections, indexes and fields by the names that queries call them.

use event_source_model::event::View;
use event_source_model::query::{Answer, Constant, Failure, Fault, Name};
use pgrx::pg_sys;

use crate::error::Error;
use crate::order;
use crate::source::{self, Collection};

use super::answer::failure;

/// The collection of that name, for a role.
pub(super) fn collection(name: &Name, role: pg_sys::Oid) -> Result<Collection, Failure> {
    Collection::by_name(&name.text, role).map_err(at(name))?.ok_or_else(|| unbound(name))
}

/// The collection of that plural, or of that name with or without an `s` behind it.
pub(super) fn by_plural(plural: &Name, role: pg_sys::Oid) -> Result<Collection, Failure> {
    let text = plural.text.as_str();
    let singular = text.strip_suffix('s').unwrap_or(text);
    if let Some(found) = Collection::by_plural(text, role).map_err(at(plural))? {
        return Ok(found);
    }
    for name in [text, singular, &text.to_lowercase(), &singular.to_lowercase()] {
        if let Some(found) = Collection::by_name(name, role).map_err(at(plural))? {
            return Ok(found);
        }
    }
    Err(unbound(plural))
}

/// What a reader has to know of a collection before it asks for its rows.
pub(super) fn described(collection: &Collection) -> Answer {
    let name = Constant::Text(collection.name.clone());
    let key = Constant::Bool(source::has_key(collection.relation));
    let part = |name: &str, constant| (name.to_owned(), Answer::Constant(constant));
    Answer::Object(vec![part("name", name), part("key", key)])
}

fn unbound(name: &Name) -> Failure {
    let message = format!("Unbound variable `{}`", name.text);
    Failure::new(Fault::UnboundVariable, message, name.span)
        .hint("collections are the tables that event_source.capture was called for")
}

/// How a document is shown of which nothing but its collection is known.
pub(super) fn view(collection: &Collection) -> View {
    View {
        collection: collection.name.clone(),
        fields: None,
        projection: None,
        history: order::history_id(),
    }
}

/// The index that a query calls by its name, or by what follows the table's name in it, in any of the
/// ways to write `byName`: `byName`, `by_name`, `product_by_name`, `product_byName`.
pub(super) fn index(table: pg_sys::Oid, name: &Name) -> Result<pg_sys::Oid, Failure> {
    let relation = |oid| source::relation_name(oid).unwrap_or_default();
    let table_name = relation(table);
    let snake = snake(&name.text);
    let wanted = [
        name.text.clone(),
        snake.clone(),
        format!("{table_name}_{snake}"),
        format!("{table_name}_{}", name.text),
    ];
    let indexes: Vec<(pg_sys::Oid, String)> =
        source::indexes(table).into_iter().map(|oid| (oid, relation(oid))).collect();
    let found = wanted.iter().find_map(|wanted| indexes.iter().find(|(_, name)| name == wanted));
    found.map(|(oid, _)| *oid).ok_or_else(|| {
        let message = format!("The function `{}` does not exist", name.text);
        Failure::syntax(message, name.span).hint(format!(
            "an index of the table can be called, by its name or without \"{table_name}_\" before it"
        ))
    })
}

/// The index of that name, of whatever collection that the role may read, and that. `byName` is `by_name` too.
pub(super) fn any_index(
    name: &Name,
    role: pg_sys::Oid,
) -> Result<(Collection, pg_sys::Oid), Failure> {
    let all = Collection::all().map_err(at(name))?;
    let indexes: Vec<(&Collection, pg_sys::Oid, String)> = all
        .iter()
        .flat_map(|of| source::indexes(of.relation).into_iter().map(move |oid| (of, oid)))
        .filter_map(|(of, oid)| Some((of, oid, source::relation_name(oid)?)))
        .collect();
    for wanted in [name.text.clone(), snake(&name.text), name.text.to_ascii_lowercase()] {
        let mut found: Vec<_> = indexes.iter().filter(|(_, _, called)| *called == wanted).collect();
        // One that the role may not read is refused for that.
        if found.len() > 1 {
            found.retain(|(of, _, _)| source::may_read_some(role, of.relation));
        }
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some((of, oid, _)), None) => return Ok(((*of).clone(), *oid)),
            (Some(_), Some(_)) => {
                let message = format!("several tables have an index `{wanted}`");
                return Err(Failure::new(Fault::InvalidArgument, message, name.span)
                    .hint("give one of them another name"));
            }
            (None, _) => {}
        }
    }
    let message = format!("no captured table has an index `{}`", name.text);
    Err(Failure::new(Fault::UnboundVariable, message, name.span))
}

/// The column of a field. `id` is the primary key where no column is called so.
pub(super) fn column(table: pg_sys::Oid, name: &Name) -> Result<String, Failure> {
    let exists =
        |column: &str| source::columns(table, "fields", &[Some(column.to_owned())]).is_ok();
    if exists(&name.text) {
        return Ok(name.text.clone());
    }
    if name.text == "id"
        && let Some(column) = source::only_key_column(table)
    {
        return Ok(column);
    }
    Err(missing(name))
}

fn missing(name: &Name) -> Failure {
    Failure::syntax(format!("The field `{}` does not exist", name.text), name.span)
}

/// `byName` as `by_name`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// An error while something of that name was looked at.
pub(super) fn at(name: &Name) -> impl Fn(Error) -> Failure {
    let span = name.span;
    move |error| failure(error, span)
}
