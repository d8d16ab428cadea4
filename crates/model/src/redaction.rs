//! What is to be erased from the log, applied to what the log holds.
//!
//! Events stay where they are, so that nothing shifts under readers; only what they showed of the
//! row goes. The key stays: without it nobody could tell whose past was rewritten.

use std::sync::Arc;

use crate::change::{Change, Side};
use crate::image::{Column, Image, Key, Shape};
use crate::value::Value;

/// A row's past, or some columns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    pub collection: u64,
    /// The texts of the primary key's columns, in its order.
    pub key: Vec<String>,
    /// By number; `None` for everything but the key.
    pub columns: Option<Vec<i16>>,
}

impl Redaction {
    /// Erases it from the changes; whether there was anything.
    pub fn apply(&self, changes: &mut [Change]) -> bool {
        let mut erased = false;
        for change in changes.iter_mut().filter(|c| c.collection == self.collection) {
            for side in change.before.iter_mut().chain(&mut change.after) {
                erased |= self.erase(side);
            }
        }
        erased
    }

    /// The row with its key alone, from the first change that is of it.
    pub fn key_of_row(&self, changes: &[Change]) -> Option<Image> {
        let own = changes.iter().filter(|c| c.collection == self.collection);
        let mut images = own.flat_map(|c| c.before.iter().chain(&c.after)).map(|side| &side.image);
        let image = images.find(|image| image.key().is_some_and(|key| self.is_of(&key)))?;
        let columns = 0..image.values.len() as u16;
        Some(without(image, &columns.map(|at| image.shape.key.contains(&at)).collect::<Vec<_>>()))
    }

    fn erase(&self, side: &mut Side) -> bool {
        let image = &side.image;
        if !image.key().is_some_and(|key| self.is_of(&key)) {
            return false;
        }
        let keep: Vec<bool> =
            (0..).zip(&image.shape.columns).map(|(at, c)| self.keeps(image, at, c)).collect();
        if keep.iter().all(|&keep| keep) {
            return false;
        }
        side.image = without(image, &keep);
        true
    }

    fn keeps(&self, image: &Image, at: u16, column: &Column) -> bool {
        let erased = self.columns.as_ref().is_none_or(|all| all.contains(&column.attnum));
        !erased || image.shape.key.contains(&at)
    }

    fn is_of(&self, key: &Key) -> bool {
        key.0.len() == self.key.len()
            && key.0.iter().zip(&self.key).all(|(value, text)| is_same(value, text))
    }
}

/// A numeric is the same with more zeros behind its point.
fn is_same(value: &Value, text: &str) -> bool {
    let plain = |text: &str| match text.contains('.') && !text.contains(['e', 'E']) {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match value {
        Value::Numeric(own) => plain(own) == plain(text),
        other => other.text().as_deref() == Some(text),
    }
}

fn without(image: &Image, keep: &[bool]) -> Image {
    let kept = |at: &u16| keep[usize::from(*at)];
    let left = (0..image.values.len() as u16).filter(kept).collect::<Vec<u16>>();
    let place = |at: &u16| left.iter().position(|l| l == at).expect("the key is kept") as u16;
    let shape = Shape {
        columns: left.iter().map(|&at| image.shape.columns[usize::from(at)].clone()).collect(),
        key: image.shape.key.iter().map(place).collect(),
    };
    let values = left.iter().map(|&at| image.values[usize::from(at)].clone()).collect();
    Image { shape: Arc::new(shape), values }
}
