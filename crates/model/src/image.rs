//! A whole row at one moment.
//!
//! An image carries its own column names and numbers, so that a later `ALTER TABLE` never makes an
//! old one unreadable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::encoding::{Damaged, Reader, Values};
use crate::value::Value;

/// One column of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// `pg_attribute.attnum` of the collection's root table, which a rename does not change.
    pub attnum: i16,
    pub name: String,
}

/// The columns of a table when a row was captured, and which of them are its primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    pub columns: Vec<Column>,
    /// Indexes into `columns`, in the order of the primary key; empty when there is none.
    pub key: Vec<u16>,
}

/// The values of a row, one for each column of its shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub shape: Arc<Shape>,
    pub values: Vec<Value>,
}

impl Image {
    /// Reads the values that stand one behind the other in `bytes`, as many as the shape has columns.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn of(shape: Arc<Shape>, bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let values = shape.columns.iter().map(|_| reader.value()).collect::<Result<_, _>>()?;
        if reader.is_empty() { Ok(Self { shape, values }) } else { Err(Damaged) }
    }

    /// The columns and their values, in table order.
    pub fn fields(&self) -> impl Iterator<Item = (&Column, &Value)> + Clone {
        self.shape.columns.iter().zip(&self.values)
    }

    pub fn by_attnum(&self, attnum: i16) -> Option<&Value> {
        self.fields().find(|(c, _)| c.attnum == attnum).map(|(_, v)| v)
    }

    /// Bytes of the values, without their names.
    pub fn bytes(&self) -> usize {
        self.values.iter().map(Value::bytes).sum()
    }

    /// Whether the two have the same key, or none.
    pub(crate) fn has_key_of(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.shape, &other.shape) {
            let mut places = self.shape.key.iter().map(|&at| usize::from(at));
            return places.all(|at| self.values[at] == other.values[at]);
        }
        self.key() == other.key()
    }

    /// The primary key's values, `None` for a table without one.
    pub fn key(&self) -> Option<Key> {
        if self.shape.key.is_empty() {
            return None;
        }
        Some(Key(self.shape.key.iter().map(|&i| self.values[usize::from(i)].clone()).collect()))
    }
}

/// The values of a primary key, in its order; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(pub Vec<Value>);

impl Key {
    /// The one text form of a key: the single column's text, or `[1,"a"]` for several.
    pub fn text(&self) -> String {
        match self.0.as_slice() {
            [single] => single.text().unwrap_or_default(),
            several => {
                let parts: Vec<String> = several.iter().map(part).collect();
                format!("[{}]", parts.join(","))
            }
        }
    }

    /// Bytes that are equal exactly when the keys are, and that sort in a fixed order.
    pub fn sort_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        self.0.iter().for_each(|value| Values(&mut bytes).value(value));
        bytes
    }
}

/// One element of a composite key: numbers and booleans bare, everything else a JSON string.
fn part(value: &Value) -> String {
    let text = value.text().unwrap_or_else(|| "null".to_owned());
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) => text,
        _ => {
            let mut out = String::with_capacity(text.len() + 2);
            out.push('"');
            for c in text.chars() {
                match c {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
                    c => out.push(c),
                }
            }
            out.push('"');
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_one_column_is_its_text_and_of_two_a_json_array() {
        assert_eq!(Key(vec![Value::BigInt(42)]).text(), "42");
        let two = Key(vec![Value::Int(1), Value::Text("a\"b".to_owned())]);
        assert_eq!(two.text(), r#"[1,"a\"b"]"#);
    }
}
