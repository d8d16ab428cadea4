//! The changes of a tail: as the log has them, so that only whoever shows one decodes it.

use std::sync::Arc;

use event_source_model::encoding::Damaged;
use event_source_model::event::EventType;
use event_source_model::image::Shape;
use event_source_model::named::Named;
use event_source_model::net::NetChange;
use event_source_model::payload::{self, ShapeId};
use event_source_model::position::Position;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::message::SourceId;

/// Net changes that some open source wants, ascending by position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Those that the payloads name.
    pub shapes: Named,
    pub list: Vec<TailChange>,
}

/// A net change and who sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailChange {
    pub position: Position,
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    pub seen_by: SeenBy,
}

/// The sources that see a change, each once, and what it is for them. Most often there is one.
pub type SeenBy = SmallVec<[(SourceId, EventType); 1]>;

impl Changes {
    /// Adds what a transaction did to one of its rows.
    pub fn push(&mut self, position: Position, change: &NetChange, seen_by: SeenBy) {
        let mut payload = Vec::new();
        payload::encode_net(change, &mut |shape| self.shapes.name(shape), &mut payload);
        self.list.push(TailChange { position, payload, seen_by });
    }

    /// Adds what a transaction did that did nothing else, by its payload.
    pub fn push_logged(
        &mut self,
        position: Position,
        payload: &[u8],
        shape: &(ShapeId, Arc<Shape>),
        seen_by: SeenBy,
    ) {
        self.shapes.add(shape);
        self.list.push(TailChange { position, payload: payload.to_vec(), seen_by });
    }

    /// Adds all of another, which are behind these.
    pub fn append(&mut self, next: Self) {
        self.shapes.append(&next.shapes);
        self.list.extend(next.list);
    }

    /// One of them, decoded; the old image beside a new one only if it is looked at.
    ///
    /// # Errors
    /// When the log is damaged there.
    pub fn decode(&self, at: usize, with_old: bool) -> Result<NetChange, Damaged> {
        payload::decode_net(&self.list[at].payload, &self.shapes, with_old)
    }

    pub fn first(&self) -> Option<&TailChange> {
        self.list.first()
    }

    pub fn last(&self) -> Option<&TailChange> {
        self.list.last()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
