//! A renderer's bytes, cut into the chunks that wait in a queue.

use bytes::Bytes;
use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_wire::shown::Shown;

use super::queue::Chunk;
use super::renderer::{Cut, Format};

/// How much goes into one frame: as HTTP/2 sends it.
const FRAME: usize = 16 * 1024;

impl Format {
    /// How many bytes of waiting chunks leave together; 0 when each goes alone.
    pub(super) fn frame(&self) -> usize {
        match self.cut() {
            Cut::Frames => FRAME,
            Cut::Chunks | Cut::Lines => 0,
        }
    }

    /// What a stream begins with.
    pub(super) fn first(&self, view: &View, position: &Position, cost: Cost) -> Chunk {
        said(|out| self.started(out, view, position, cost))
    }

    /// The chunk of a status, and what was read since the last one for nothing.
    pub(super) fn quiet(&self, view: &View, position: &Position, cost: Cost) -> Chunk {
        said(|out| self.status(out, view, position, cost))
    }

    /// The chunk that says that the rows of a snapshot have all been sent.
    pub(super) fn complete(&self, view: &View, position: &Position) -> Chunk {
        said(|out| self.snapshot_complete(out, view, position))
    }

    /// The last chunk of a stream.
    pub(super) fn last(&self, view: &View, refusal: &Refusal) -> Chunk {
        said(|out| self.error(out, view, refusal))
    }

    /// Events, each of whose changes took `micros`.
    pub(super) fn events<'a>(
        &self,
        view: &View,
        events: impl Iterator<Item = Shown<'a>>,
        micros: u64,
    ) -> Vec<Chunk> {
        let mut cutting = Cutting::new(self.cut());
        for shown in events {
            let before = cutting.open.len();
            self.event(&mut cutting.open, view, shown, micros);
            if cutting.open.len() > before {
                let cost = Cost { micros, ..Cost::of(shown.before.into_iter().chain(shown.after)) };
                cutting.written(before, cost);
            }
        }
        cutting.close();
        cutting.chunks
    }
}

/// A chunk without an event.
fn said(write: impl FnOnce(&mut String)) -> Chunk {
    let mut out = String::new();
    write(&mut out);
    Chunk { bytes: out.into(), events: 0, cost: Cost::default() }
}

/// Chunks as they are filled.
#[derive(Debug)]
struct Cutting {
    cut: Cut,
    open: String,
    /// Of the open one.
    events: u32,
    cost: Cost,
    chunks: Vec<Chunk>,
}

impl Cutting {
    fn new(cut: Cut) -> Self {
        let (open, chunks) = (String::new(), Vec::new());
        Self { cut, open, events: 0, cost: Cost::default(), chunks }
    }

    /// An event was written behind what there was before.
    fn written(&mut self, before: usize, cost: Cost) {
        if self.cut == Cut::Lines {
            let (mut rest, mut cost) = (Bytes::from(std::mem::take(&mut self.open)), cost);
            while !rest.is_empty() {
                let end =
                    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                let (bytes, cost) = (rest.split_to(end), std::mem::take(&mut cost));
                self.chunks.push(Chunk { bytes, events: 1, cost });
            }
            return;
        }
        if before > 0 && self.open.len() > FRAME {
            let next = self.open.split_off(before);
            self.close();
            self.open = next;
        }
        self.events += 1;
        self.cost += cost;
    }

    fn close(&mut self) {
        if self.events > 0 {
            let bytes = Bytes::from(std::mem::take(&mut self.open));
            let (events, cost) = (std::mem::take(&mut self.events), std::mem::take(&mut self.cost));
            self.chunks.push(Chunk { bytes, events, cost });
        }
    }
}
