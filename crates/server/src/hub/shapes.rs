//! One copy of each table's shape.
//!
//! Each tail brings its own; the memory of a tail of narrow rows would be shapes for the most part.

use std::collections::HashMap;
use std::sync::Arc;

use event_source_model::image::Shape;
use event_source_model::named::Named;
use event_source_model::payload::ShapeId;

/// Of more tables than this some are held more than once.
const MOST: usize = 10_000;

/// The shapes that were seen, by name.
#[derive(Debug, Default)]
pub(super) struct Shapes(HashMap<ShapeId, Arc<Shape>>);

impl Shapes {
    /// Puts the shapes that are known in the place of equal ones.
    pub(super) fn share(&mut self, named: &mut Named) {
        for (id, shape) in named.iter_mut() {
            if let Some(known) = self.0.get(&id) {
                *shape = Arc::clone(known);
                continue;
            }
            if self.0.len() >= MOST {
                self.0.clear();
            }
            self.0.insert(id, Arc::clone(shape));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_source_model::image::Column;

    fn named(name: usize) -> (Named, ShapeId) {
        let column = Column { attnum: 1, name: name.to_string() };
        let mut named = Named::default();
        let id = named.name(&Arc::new(Shape { columns: vec![column], key: Vec::new() }));
        (named, id)
    }

    #[test]
    fn equal_shapes_become_one_however_many_tables_there_are() {
        let mut shapes = Shapes::default();
        for table in 0..MOST + 10 {
            let ((mut first, id), (mut second, _)) = (named(table), named(table));
            shapes.share(&mut first);
            shapes.share(&mut second);
            let (first, second) = (first.find(id).expect("named"), second.find(id).expect("named"));
            assert!(Arc::ptr_eq(&first, &second), "table {table}");
        }
        assert!(shapes.0.len() <= MOST);
    }
}
