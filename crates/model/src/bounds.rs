//! How large a tree from outside may be: a query, its constants, and what it is answered with.
//!
//! Guarantees that nothing which walks or drops such a tree runs out of stack, in the server and in the worker. A tree
//! is weighed where it is sent ([`Scales`]), and weighed again where it arrives: the worker does not trust the server.
//! Before that, [`deep`] and [`many`] end the decoding of bytes that are nested deeper or have more parts. It runs in both processes and touches
//! nothing but its arguments and a counter of its thread.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::query::{Ask, Constant, EventSource, Failure, Of, Rows, Shown, Span, Test};

/// Levels of a tree. Code that walks it may use 4 kB of stack for each.
pub const DEEPEST: usize = 200;
/// How heavy a query may be: a part of it weighs [`PART`], and a text in it as much as it is long.
pub const MOST: usize = 4 << 20;
/// About the memory that a part takes. PostgreSQL takes 65,535 parameters, which is [`MOST`] of them.
pub const PART: usize = 64;

thread_local! {
    /// Levels that are being decoded.
    static LEVEL: Cell<usize> = const { Cell::new(0) };
    /// Parts of lists that were decoded since the outermost began.
    static PARTS: Cell<usize> = const { Cell::new(0) };
}

/// Decodes what a tree has inside. Each field that may contain its own type has it as `deserialize_with`.
///
/// # Errors
/// Those of `T`, and bytes that are nested deeper than [`DEEPEST`].
pub fn deep<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    inside(|| T::deserialize(from))
}

/// Decodes a list in a tree, a part after the other: a byte may become some hundred.
///
/// # Errors
/// As [`deep`], and more than [`MOST`] parts together with those of the lists around it.
pub fn many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Parts<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
        type Value = Vec<T>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut parts = Vec::new();
            while let Some(part) = list.next_element()? {
                PARTS.set(PARTS.get() + 1);
                if PARTS.get() > MOST / PART {
                    return Err(A::Error::custom("too many parts"));
                }
                parts.push(part);
            }
            Ok(parts)
        }
    }
    inside(|| from.deserialize_seq(Parts(PhantomData)))
}

/// A level down.
fn inside<T, E: Error>(decode: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    struct Level;
    impl Drop for Level {
        fn drop(&mut self) {
            LEVEL.set(LEVEL.get() - 1);
        }
    }
    if LEVEL.get() == 0 {
        PARTS.set(0);
    }
    LEVEL.set(LEVEL.get() + 1);
    let _level = Level;
    if LEVEL.get() > DEEPEST {
        return Err(E::custom("nested too deeply"));
    }
    decode()
}

/// Why a tree is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    #[error("the query is nested too deeply")]
    Deep,
    #[error("the query has too many parts")]
    Wide,
}

impl TooLarge {
    /// The same about a place of a query.
    pub fn at(self, span: Span) -> Failure {
        Failure::syntax(self.to_string(), span)
    }
}

/// Weighs trees one after the other, and ends at the first part that is one too many.
#[derive(Debug)]
pub struct Scales {
    left: usize,
}

impl Default for Scales {
    fn default() -> Self {
        Self { left: MOST }
    }
}

impl Scales {
    /// Whether a query is small enough to be sent and to be worked on.
    ///
    /// # Errors
    /// It is not.
    pub fn check(ask: &Ask) -> Result<(), TooLarge> {
        Self::weigh(ask).map(drop)
    }

    /// How heavy such a query is.
    ///
    /// # Errors
    /// As [`Scales::check`].
    pub fn weigh(ask: &Ask) -> Result<usize, TooLarge> {
        let mut scales = Self::default();
        scales.ask(ask, 0)?;
        Ok(MOST - scales.left)
    }

    /// # Errors
    /// It is too deep, or together with what was weighed before too heavy.
    pub fn constant(&mut self, constant: &Constant) -> Result<(), TooLarge> {
        self.constant_at(constant, 0)
    }

    /// # Errors
    /// As [`Scales::constant`].
    pub fn rows(&mut self, rows: &Rows) -> Result<(), TooLarge> {
        self.rows_at(rows, 0)
    }

    /// # Errors
    /// As [`Scales::constant`].
    pub fn source(&mut self, source: &EventSource) -> Result<(), TooLarge> {
        self.source_at(source, 0)
    }

    /// A part by itself, with its texts.
    ///
    /// # Errors
    /// It is together with what was weighed before too heavy.
    pub fn part(&mut self, texts: usize) -> Result<(), TooLarge> {
        self.left = self.left.checked_sub(PART + texts).ok_or(TooLarge::Wide)?;
        Ok(())
    }

    /// The level inside of a part.
    fn inside(&mut self, depth: usize, texts: usize) -> Result<usize, TooLarge> {
        if depth >= DEEPEST {
            return Err(TooLarge::Deep);
        }
        self.part(texts)?;
        Ok(depth + 1)
    }

    fn ask(&mut self, ask: &Ask, depth: usize) -> Result<(), TooLarge> {
        let text = match ask {
            Ask::Next { cursor, .. } => cursor.len(),
            Ask::Plural(name) => name.text.len(),
            _ => 0,
        };
        let inside = self.inside(depth, text)?;
        match ask {
            Ask::Constant(constant) => self.constant_at(constant, inside),
            Ask::Array(items) => items.iter().try_for_each(|item| self.ask(item, inside)),
            Ask::Object(fields) => fields.iter().try_for_each(|(name, field)| {
                self.part(name.len())?;
                self.ask(field, inside)
            }),
            Ask::Page { rows, .. } | Ask::Row(rows) | Ask::Version { rows, .. } => {
                self.rows_at(rows, inside)
            }
            Ask::Sorted { rows, order, .. } => {
                order.iter().try_for_each(|by| self.part(by.column.text.len()))?;
                self.rows_at(rows, inside)
            }
            Ask::EventSource(source) => self.source_at(source, inside),
            Ask::Next { .. } | Ask::Plural(_) => Ok(()),
        }
    }

    fn source_at(&mut self, source: &EventSource, depth: usize) -> Result<(), TooLarge> {
        source.watch.iter().flatten().try_for_each(|name| self.part(name.text.len()))?;
        self.rows_at(&source.rows, depth)
    }

    fn rows_at(&mut self, rows: &Rows, depth: usize) -> Result<(), TooLarge> {
        self.part(rows.collection.text.len())?;
        match &rows.shown {
            Shown::Document | Shown::Covered => {}
            Shown::Value(name) => self.part(name.text.len())?,
            Shown::Object(fields) => fields
                .iter()
                .try_for_each(|(shown, name)| self.part(shown.len() + name.text.len()))?,
        }
        self.of(&rows.of, depth)?;
        rows.filter.iter().try_for_each(|test| self.test(test, depth))
    }

    fn of(&mut self, of: &Of, depth: usize) -> Result<(), TooLarge> {
        let inside = self.inside(depth, 0)?;
        match of {
            Of::All => Ok(()),
            Of::Index { index, terms } | Of::Named { index, terms } => {
                self.part(index.text.len())?;
                terms.iter().try_for_each(|term| self.constant_at(term, inside))
            }
            Of::Key { key, .. } => self.constant_at(key, inside),
            Of::First { of, filter, .. } => {
                self.of(of, inside)?;
                filter.iter().try_for_each(|test| self.test(test, inside))
            }
        }
    }

    fn test(&mut self, test: &Test, depth: usize) -> Result<(), TooLarge> {
        let text = if let Test::Column(name) = test { name.text.len() } else { 0 };
        let inside = self.inside(depth, text)?;
        match test {
            Test::Column(_) => Ok(()),
            Test::Constant(constant, _) => self.constant_at(constant, inside),
            Test::Not(of) | Test::Minus(of) => self.test(of, inside),
            Test::Binary(_, left, right) => {
                self.test(left, inside)?;
                self.test(right, inside)
            }
            Test::In(of, list, _) => {
                self.test(of, inside)?;
                list.iter().try_for_each(|constant| self.constant_at(constant, inside))
            }
            Test::Call(_, operands, _) => {
                operands.iter().try_for_each(|operand| self.test(operand, inside))
            }
        }
    }

    fn constant_at(&mut self, constant: &Constant, depth: usize) -> Result<(), TooLarge> {
        let texts = match constant {
            Constant::Bytes(bytes) => bytes.len(),
            other => other.text().map_or(0, str::len),
        };
        let inside = self.inside(depth, texts)?;
        match constant {
            Constant::Array(items) => {
                items.iter().try_for_each(|item| self.constant_at(item, inside))
            }
            Constant::Object(fields) => fields.iter().try_for_each(|(name, field)| {
                self.part(name.len())?;
                self.constant_at(field, inside)
            }),
            _ => Ok(()),
        }
    }
}
