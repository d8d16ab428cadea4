//! The shapes that some payloads name, beside them on their way to whoever decodes them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::encoding::Damaged;
use crate::image::Shape;
use crate::payload::ShapeId;

/// Shapes by name, each once. As few as there are tables: looked for one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named(Vec<(ShapeId, Arc<Shape>)>);

impl Named {
    /// The name of a shape, which is here from now on.
    pub fn name(&mut self, shape: &Arc<Shape>) -> ShapeId {
        // Arcs of one shape are equal without being looked into.
        if let Some((id, _)) = self.0.iter().find(|(_, known)| known == shape) {
            return *id;
        }
        let id = ShapeId::of(shape).0;
        self.0.push((id, Arc::clone(shape)));
        id
    }

    /// Adds a shape whose name is known.
    pub fn add(&mut self, named: &(ShapeId, Arc<Shape>)) {
        if !self.0.iter().any(|(id, _)| *id == named.0) {
            self.0.push(named.clone());
        }
    }

    /// Adds all of another.
    pub fn append(&mut self, other: &Self) {
        other.0.iter().for_each(|named| self.add(named));
    }

    /// The shape of a name.
    ///
    /// # Errors
    /// When it is not here.
    pub fn find(&self, id: ShapeId) -> Result<Arc<Shape>, Damaged> {
        let found = self.0.iter().find(|(known, _)| *known == id);
        found.map(|(_, shape)| Arc::clone(shape)).ok_or(Damaged)
    }

    /// Each with its name, to be put in the place of an equal one.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ShapeId, &mut Arc<Shape>)> {
        self.0.iter_mut().map(|(id, shape)| (*id, shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Column;

    fn shape(name: &str) -> Arc<Shape> {
        let columns = vec![Column { attnum: 1, name: name.to_owned() }];
        Arc::new(Shape { columns, key: Vec::new() })
    }

    #[test]
    fn a_shape_is_found_by_the_name_that_it_got_and_no_other_is() {
        let mut named = Named::default();
        let id = named.name(&shape("a"));
        assert_eq!(named.name(&shape("a")), id);
        assert_eq!(named.find(id), Ok(shape("a")));
        assert_eq!(named.find(ShapeId::of(&shape("b")).0), Err(Damaged));
    }

    #[test]
    fn of_two_lists_each_shape_is_there_once() {
        let (mut one, mut two) = (Named::default(), Named::default());
        let (a, b) = (one.name(&shape("a")), two.name(&shape("b")));
        two.name(&shape("a"));
        one.append(&two);
        assert_eq!((one.find(a), one.find(b)), (Ok(shape("a")), Ok(shape("b"))));
        assert_eq!(one.0.len(), 2);
    }
}
