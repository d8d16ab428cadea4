//! A stored change looked into without being decoded: what it did, the row's key in the bytes that the
//! log has of it, and no value made.
//!
//! Writers place the changes of large transactions by it ([`place`](crate::place)), readers pass changes on
//! as they are ([`events`](crate::events)).

use std::sync::Arc;

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
    let look = Look::at(&mut reader, shapes)?;
    let Some(shape) = look.shape else { return Ok(None) };
    if !reader.is_empty() || look.moved || look.head.rewrite {
        return Ok(None);
    }
    let (before, after) = match look.head.kind {
        Kind::Insert => (false, true),
        Kind::Delete => (true, false),
        Kind::Update => (true, true),
        Kind::Neither | Kind::Both => return Ok(None),
    };
    Ok(Some(Only { collection: look.head.collection, before, after, shape }))
}

/// As much of a change as can be said without decoding it.
pub(crate) struct Look<'a> {
    pub(crate) head: Head,
    /// Of the first image.
    pub(crate) shape: Option<(ShapeId, Arc<Shape>)>,
    /// The stored values of the key, in its order; empty for a table without one.
    pub(crate) key: Vec<&'a [u8]>,
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
        let mut look = Self { head, shape: None, key: Vec::new(), moved: false };
        if head.kind == Kind::Neither {
            return Ok(look);
        }
        let (id, shape) = payload::shape(reader, shapes)?;
        look.key = image(reader, &shape)?;
        match head.kind {
            Kind::Neither | Kind::Insert | Kind::Delete => {}
            Kind::Update => {
                payload::version(reader)?;
                while let Some(at) = reader.number()?.checked_sub(1) {
                    look.moved |= shape.key.iter().any(|&part| u64::from(part) == at);
                    reader.raw_value()?;
                }
            }
            Kind::Both => {
                let (_, old) = payload::shape(reader, shapes)?;
                look.moved = image(reader, &old)? != look.key;
            }
        }
        look.shape = Some((id, shape));
        Ok(look)
    }
}

/// The stored values of the key in an image.
fn image<'a>(reader: &mut Reader<'a>, shape: &Shape) -> Result<Vec<&'a [u8]>, Damaged> {
    payload::version(reader)?;
    let mut key = vec![&[][..]; shape.key.len()];
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
