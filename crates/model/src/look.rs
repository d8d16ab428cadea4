//! A stored change looked into without being decoded: what it did, the row's key in the bytes that the
//! log has of it, and no value made.
//!
//! Writers place the changes of large transactions by it ([`place`](crate::place)), readers pass changes on
//! as they are ([`events`](crate::events)).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::cost::Cost;
use crate::encoding::{Damaged, Reader};
use crate::image::Shape;
use crate::payload::{self, Head, Kind, ShapeId, Shapes};

/// A payload that is one change, the plain insert, update or delete of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    pub collection: u64,
    /// Whether there was a row before the change, and whether there is one after it.
    pub before: bool,
    pub after: bool,
    /// The columns of all its images.
    pub shape: (ShapeId, Arc<Shape>),
    /// Of its images, both of them.
    bytes: u64,
}

impl Only {
    /// What it takes to look at it, as if it had been decoded; without the time.
    pub fn cost(&self) -> Cost {
        Cost { changes: 1, bytes: self.bytes, micros: 0 }
    }
}

/// The only change of a payload. `None` when there are several, and for what is not the plain insert, update
/// or delete of one row: an update that moved the key, one between two shapes, a schema break, a rewritten past.
///
/// # Errors
/// When the payload is damaged in what is looked at, and what finding a shape gives.
pub fn only<E: From<Damaged>>(
    payload: &[u8],
    shapes: &mut Shapes<'_, E>,
) -> Result<Option<Only>, E> {
    let mut reader = Reader(payload);
    let Head { kind, rewrite, collection, .. } = Head::read(&mut reader)?;
    let (before, after) = match kind {
        Kind::Insert => (false, true),
        Kind::Delete => (true, false),
        Kind::Update => (true, true),
        Kind::Neither | Kind::Both => return Ok(None),
    };
    let shape = payload::shape(&mut reader, shapes)?;
    payload::version(&mut reader)?;
    let values = shape.1.columns.iter().map(|_| reader.pass_value());
    let sizes: SmallVec<[usize; 16]> = values.collect::<Result<_, _>>()?;
    let mut bytes: usize = sizes.iter().sum();
    if kind == Kind::Update {
        payload::version(&mut reader)?;
        // What does not differ is in both images.
        let mut old = bytes;
        while let Some(at) = reader.number()?.checked_sub(1) {
            if is_of_key(&shape.1, at) {
                return Ok(None);
            }
            let new = sizes.get(at as usize).ok_or(Damaged)?;
            old = (old + reader.pass_value()?).checked_sub(*new).ok_or(Damaged)?;
        }
        bytes += old;
    }
    let is_plain = reader.is_empty() && !rewrite;
    Ok(is_plain.then_some(Only { collection, before, after, shape, bytes: bytes as u64 }))
}

/// The stored values of a key, in its order.
pub(crate) type Key<'a> = SmallVec<[&'a [u8]; 2]>;

/// As much of a change as can be said without decoding it.
pub(crate) struct Look<'a> {
    pub(crate) head: Head,
    /// Empty for a table without one.
    pub(crate) key: Key<'a>,
    /// The old image has another key.
    pub(crate) moved: bool,
}

impl<'a> Look<'a> {
    /// Passes a change.
    pub(crate) fn at<E: From<Damaged>>(
        reader: &mut Reader<'a>,
        shapes: &mut Shapes<'_, E>,
    ) -> Result<Self, E> {
        let head = Head::read(reader)?;
        let mut look = Self { head, key: Key::new(), moved: false };
        if head.kind == Kind::Neither {
            return Ok(look);
        }
        let (_, shape) = payload::shape(reader, shapes)?;
        look.key = image(reader, &shape)?;
        match head.kind {
            Kind::Neither | Kind::Insert | Kind::Delete => {}
            Kind::Update => {
                payload::version(reader)?;
                while let Some(at) = reader.number()?.checked_sub(1) {
                    look.moved |= is_of_key(&shape, at);
                    reader.raw_value()?;
                }
            }
            Kind::Both => {
                let (_, old) = payload::shape(reader, shapes)?;
                look.moved = image(reader, &old)? != look.key;
            }
        }
        Ok(look)
    }
}

/// Whether a column, by its place in the shape, is part of the key.
fn is_of_key(shape: &Shape, at: u64) -> bool {
    shape.key.iter().any(|&part| u64::from(part) == at)
}

/// Passes an image and gives the row's key.
fn image<'a>(reader: &mut Reader<'a>, shape: &Shape) -> Result<Key<'a>, Damaged> {
    payload::version(reader)?;
    let mut key = Key::from_elem(&[], shape.key.len());
    for at in 0..shape.columns.len() {
        let value = reader.raw_value()?;
        for (part, of) in key.iter_mut().zip(&shape.key) {
            if usize::from(*of) == at {
                *part = value;
            }
        }
    }
    Ok(key)
}
