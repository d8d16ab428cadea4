//! What happened to a table, in the order in which somebody was told.

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Add,
    Update,
    Remove,
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub kind: Kind,
    /// As a text, which is the same everywhere.
    pub key: String,
    /// The row, where it is told.
    pub row: Option<Value>,
}

impl Change {
    pub(crate) fn new(kind: Kind, key: &Value, row: Option<Value>) -> Self {
        let key = key.as_str().map_or_else(|| key.to_string(), ToOwned::to_owned);
        Self { kind, key, row }
    }

    pub(crate) fn without_row(&self) -> Self {
        Self { row: None, ..self.clone() }
    }

    /// As a document: its id is not among its fields, and nulls are not there.
    pub(crate) fn as_document(&self) -> Self {
        let mut change = self.clone();
        if let Some(Value::Object(fields)) = &mut change.row {
            fields.retain(|name, value| name != "id" && !value.is_null());
        }
        change
    }
}
