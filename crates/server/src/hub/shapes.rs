//! One copy of each table's shape.
//!
//! An image that comes through the door brings its own; the memory of a tail of narrow rows would be
//! shapes for the most part.

use std::sync::Arc;

use event_source_door::message::Tail;
use event_source_model::image::Shape;

/// Of more tables that change at the same time some are held more than once.
const MOST: usize = 64;

/// The shapes that were seen last, about in the order of their use.
#[derive(Debug, Default)]
pub(super) struct Shapes(Vec<Arc<Shape>>);

impl Shapes {
    /// Makes the images of a tail that nobody else holds yet share their shapes.
    pub(super) fn share(&mut self, tail: &mut Tail) {
        for change in &mut tail.changes {
            for image in change.before.iter_mut().chain(&mut change.after) {
                if let Some(image) = Arc::get_mut(image) {
                    self.intern(&mut image.shape);
                }
            }
        }
    }

    fn intern(&mut self, shape: &mut Arc<Shape>) {
        match self.0.iter().position(|known| known == shape) {
            Some(at) => {
                *shape = Arc::clone(&self.0[at]);
                self.0.swap(0, at);
            }
            None => {
                self.0.truncate(MOST - 1);
                self.0.insert(0, Arc::clone(shape));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_source_model::image::Column;

    fn shape(name: usize) -> Arc<Shape> {
        let column = Column { attnum: 1, name: name.to_string() };
        Arc::new(Shape { columns: vec![column], key: Vec::new() })
    }

    #[test]
    fn equal_shapes_become_one_however_many_tables_there_are() {
        let mut shapes = Shapes::default();
        for table in 0..2 * MOST {
            let mut first = shape(table);
            shapes.intern(&mut first);
            let mut second = shape(table);
            shapes.intern(&mut second);
            assert!(Arc::ptr_eq(&first, &second), "table {table}");
        }
        assert_eq!(shapes.0.len(), MOST);
    }
}
