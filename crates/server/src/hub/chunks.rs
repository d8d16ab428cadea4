//! A renderer's bytes, cut into the chunks that wait in a queue.

use std::sync::Arc;

use bytes::Bytes;
use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_wire::shown::Shown;

use super::queue::Chunk;
use super::renderer::{Cut, Format};
use crate::budget::Account;

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

    /// Begins to write events, each of whose changes took `micros`, for streams of that owner.
    pub(super) fn writing<'a>(
        &'a self,
        view: &'a View,
        micros: u64,
        owner: &'a Account,
    ) -> Writing<'a> {
        Writing { format: self, view, micros, cutting: Cutting::new(self.cut(), owner) }
    }
}

/// Events as they become chunks.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    format: &'a Format,
    view: &'a View,
    micros: u64,
    cutting: Cutting<'a>,
}

impl Writing<'_> {
    pub(super) fn event(&mut self, shown: Shown<'_>) {
        let Self { format, view, micros, cutting } = self;
        let before = cutting.open.len();
        let cost = Cost::of(shown.before.into_iter().chain(shown.after));
        let bytes = usize::try_from(cost.bytes).unwrap_or_default();
        if bytes > FRAME {
            // By doubling it would be held twice.
            cutting.open.reserve(bytes + bytes / 16 + FRAME);
        }
        format.event(&mut cutting.open, view, shown, *micros);
        if cutting.open.len() > before {
            cutting.written(before, Cost { micros: *micros, ..cost });
        }
    }

    pub(super) fn end(mut self) -> Vec<Arc<Chunk>> {
        self.cutting.close();
        self.cutting.chunks
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
struct Cutting<'a> {
    cut: Cut,
    owner: &'a Account,
    open: String,
    /// Of the open one.
    events: u32,
    cost: Cost,
    chunks: Vec<Arc<Chunk>>,
}

impl<'a> Cutting<'a> {
    fn new(cut: Cut, owner: &'a Account) -> Self {
        let (open, chunks) = (String::new(), Vec::new());
        Self { cut, owner, open, events: 0, cost: Cost::default(), chunks }
    }

    /// An event was written behind what there was before.
    fn written(&mut self, before: usize, cost: Cost) {
        if self.cut == Cut::Lines {
            let (mut rest, mut cost) = (self.take(), cost);
            while !rest.is_empty() {
                let end =
                    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                let (bytes, cost) = (rest.split_to(end), std::mem::take(&mut cost));
                self.chunks.push(Arc::new(Chunk { bytes, events: 1, cost }));
            }
            return;
        }
        if before > 0 && self.open.len() > FRAME {
            // As large as the frame that is full: the next one will be, too.
            let mut next = String::with_capacity(self.open.len());
            next.push_str(&self.open[before..]);
            self.open.truncate(before);
            self.close();
            self.open = next;
        }
        self.events += 1;
        self.cost += cost;
    }

    /// What was written, counted as the owner's.
    fn take(&mut self) -> Bytes {
        self.owner.shared().around(std::mem::take(&mut self.open))
    }

    fn close(&mut self) {
        if self.events > 0 {
            let bytes = self.take();
            let (events, cost) = (std::mem::take(&mut self.events), std::mem::take(&mut self.cost));
            self.chunks.push(Arc::new(Chunk { bytes, events, cost }));
        }
    }
}
