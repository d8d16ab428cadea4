//! What a token says, for eyes.
//!
//! Runs in backends.

use event_source_model::source::{Set, Types};
use event_source_model::time::unix_instant;
use pgrx::pg_sys;
use serde_json::{Value, json};

use super::collection::relation_of;
use super::{elsewhere, keys, names, open};
use crate::error::Result;

/// The contents of a token whose signature is right, whether or not it may still be used.
pub(super) fn describe(token: &str) -> Result<Value> {
    let source = keys::verify(token)?;
    let definition = &source.definition;
    let table = relation_of(definition.collection)?;
    let columns = |numbers: &Option<Vec<i16>>| -> Value {
        numbers
            .as_ref()
            .map_or(Value::Null, |n| n.iter().map(|&attnum| column(table, attnum)).collect())
    };
    let set = match &definition.set {
        Set::Collection => json!({ "kind": "collection" }),
        Set::Index { index, terms, .. } => {
            json!({ "kind": "index", "index": index.name, "terms": terms })
        }
        Set::Row { key } => json!({ "kind": "row", "key": key }),
    };
    Ok(json!({
        // A string: JavaScript's numbers would round it.
        "id": source.id.to_string(),
        "set": set,
        "table": table.map(names::qualified).transpose()?,
        "fields": columns(&definition.fields),
        "filter": definition.filter.as_ref().map(|f| &f.expression),
        "types": types(definition.types),
        "watch": columns(&definition.watch.as_ref().map(|watch| watch.columns.clone())),
        "role": elsewhere::role(&source)
            .ok()
            .and_then(names::role_name)
            .unwrap_or_else(|| definition.role.name.clone()),
        "expires": source.expires.map(unix_instant),
        "revoked": open::is_revoked(source.id)?,
        "start": {
            "txn_ts": source.start.closed,
            "time": unix_instant(source.start.closed),
            "seen": source.start.seen.len(),
        },
        "history": source.history.to_string(),
    }))
}

fn column(table: Option<pg_sys::Oid>, attnum: i16) -> Value {
    table.and_then(|table| names::column_name(table, attnum)).map_or(json!(attnum), Value::String)
}

fn types(types: Types) -> Vec<&'static str> {
    let all = [("add", types.add), ("update", types.update), ("remove", types.remove)];
    all.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
}
