//! Where a change stands in a transaction too large to be sorted in memory: by collection, then by
//! key, so that all changes of a row stand together and a reader can stop between two rows.
//!
//! Found in the bytes of a change without making anything of its values: a transaction of a million
//! rows asks for it a million times.
//!
//! Such a transaction is written in **runs**, each in order by place and cut into parts. The changes of a row
//! stand in one part of a run; several runs may have some of it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::change::Change;
use crate::encoding::{Damaged, Reader};
use crate::image::Shape;
use crate::look::Look;
use crate::payload::{self, Kind, ShapeId, Shapes};

/// The longest key that stands in a place as it is: a btree entry must stay below a third of a page.
const LONGEST_KEY: usize = 1000;

/// The changes of a run, in order by place.
#[derive(Debug, Default)]
pub struct Run<'a> {
    /// All places, one behind the other.
    places: Vec<u8>,
    changes: Vec<(Range<usize>, Cow<'a, [u8]>)>,
}

impl<'a> Run<'a> {
    /// Of a payload in any order; changes of one place stay in theirs.
    ///
    /// # Errors
    /// As [`each`].
    pub fn of<E: From<Damaged>>(payload: &'a [u8], shapes: &mut Shapes<'_, E>) -> Result<Self, E> {
        let mut run = Self::default();
        each(payload, shapes, |place, change| {
            let start = run.places.len();
            run.places.extend_from_slice(place);
            run.changes.push((start..run.places.len(), change));
            Ok(())
        })?;
        let Self { places, changes } = &mut run;
        changes.sort_by(|(one, _), (other, _)| places[one.clone()].cmp(&places[other.clone()]));
        Ok(run)
    }

    /// Calls `each` with the parts of the run in order, each with the place of its first change and of about
    /// `size` bytes. One without changes stands at the last place, unless a part begins there: whoever looks
    /// for where to go on behind the run finds it, and need not look into any other.
    ///
    /// # Errors
    /// What `each` gives.
    pub fn parts<E>(
        &self,
        size: usize,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = |at: usize| &self.places[self.changes[at].0.clone()];
        let mut part = Vec::with_capacity(size);
        let mut first = 0;
        for (at, (_, change)) in self.changes.iter().enumerate() {
            let is_full = part.len() + change.len() > size;
            if is_full && !part.is_empty() && place(at) != place(at - 1) {
                each(place(first), &part)?;
                part.clear();
                first = at;
            }
            part.extend_from_slice(change);
        }
        let Some(last) = self.changes.len().checked_sub(1) else { return Ok(()) };
        each(place(first), &part)?;
        if place(first) == place(last) { Ok(()) } else { each(place(last), &[]) }
    }
}

/// Calls `each` with the place and the bytes of each change of a payload, in which an update that moved a row's key is
/// the end of one row and the start of another.
///
/// # Errors
/// When the payload is damaged, what finding a shape gives, and what `each` gives.
pub fn each<'a, E: From<Damaged>>(
    payload: &'a [u8],
    shapes: &mut Shapes<'_, E>,
    mut each: impl FnMut(&[u8], Cow<'a, [u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader(payload);
    let mut place = Vec::with_capacity(32);
    while !reader.is_empty() {
        let start = reader.0;
        let seen = Look::at(&mut reader, shapes)?;
        let bytes = &start[..start.len() - reader.0.len()];
        if !seen.moved {
            seen.put_place(&mut place);
            each(&place, Cow::Borrowed(bytes))?;
            continue;
        }
        for change in payload::decode(bytes, shapes)?.into_iter().flat_map(Change::split_moved_key)
        {
            let mut part = Vec::new();
            payload::encode(&change, &mut |shape: &Arc<Shape>| ShapeId::of(shape).0, &mut part);
            Look::at(&mut Reader(&part), shapes)?.put_place(&mut place);
            each(&place, Cow::Owned(part))?;
        }
    }
    Ok(())
}

impl Look<'_> {
    fn put_place(&self, place: &mut Vec<u8>) {
        place.clear();
        // A rewrite beside what the transaction did to the row, so that a reader can stop between.
        let first = if self.head.rewrite { u64::MAX } else { self.head.collection };
        place.extend(first.to_be_bytes());
        if self.head.kind == Kind::Neither {
            // Before everything else of its collection, in place of which it is told.
            return;
        }
        if self.key.is_empty() {
            // Rows without a key stand in the order of the commands.
            place.extend(self.head.command.to_be_bytes());
            place.push(u8::from(self.head.kind != Kind::Delete));
            place.extend(self.head.fired.to_be_bytes());
            return;
        }
        let start = place.len();
        self.key.iter().for_each(|part| place.extend(*part));
        if place.len() - start > LONGEST_KEY {
            let hash = Sha256::digest(&place[start..]);
            place.truncate(start + LONGEST_KEY);
            place.extend(hash);
        }
    }
}
