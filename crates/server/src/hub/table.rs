//! The streams by their numbers, one behind the other in memory: a tail goes through all of a source.

use super::stream::{Stream, StreamId};

/// The lower half of a number is the place, from one, the upper half how often it was taken before: no number
/// is given twice.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Place>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
struct Place {
    taken: u32,
    stream: Option<Stream>,
}

const HALF: u32 = u32::BITS;

impl Table {
    /// Adds a stream, which learns its number.
    pub(super) fn insert(&mut self, stream: impl FnOnce(StreamId) -> Stream) -> StreamId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let place = &mut self.places[at];
        let id = StreamId::from(place.taken) << HALF | (at as StreamId + 1);
        place.taken = place.taken.wrapping_add(1);
        place.stream = Some(stream(id));
        id
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.places.get(at(id))?.stream.as_ref().filter(|stream| stream.id == id)
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.places.get_mut(at(id))?.stream.as_mut().filter(|stream| stream.id == id)
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        self.get(id)?;
        self.free.push(at(id));
        self.places[at(id)].stream.take()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Stream> {
        self.places.iter().filter_map(|place| place.stream.as_ref())
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.places.iter_mut().filter_map(|place| place.stream.as_mut())
    }

    /// Takes all.
    pub(super) fn drain(&mut self) -> Vec<Stream> {
        let ids: Vec<StreamId> = self.values().map(|stream| stream.id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }
}

/// Its place; that of no stream for zero.
fn at(id: StreamId) -> usize {
    ((id & StreamId::from(u32::MAX)) as usize).wrapping_sub(1)
}
