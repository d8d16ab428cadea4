//! One wire's bytes for events, cut into chunks.

use bytes::Bytes;
use event_source_door::message::Wire;
use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_wire::native::{self, Options};
use event_source_wire::shown::Shown;
use event_source_wire::v10;

use super::queue::Chunk;

/// How much goes into one chunk: a frame of HTTP/2.
pub(crate) const FRAME: usize = 16 * 1024;

/// How many events of Fauna's wire leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frames {
    /// As many as are ready and fit: Node's driver loses every frame that comes while its user's code
    /// waits.
    Merged,
    /// One, as Fauna's server sent them: the driver for Java reads the first one of what comes at once
    /// and drops the rest.
    Single,
}

/// Which bytes a stream gets. Streams of one source and format get the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Fauna v10: lines that end in CRLF.
    V10(Frames),
    /// Native JSON lines.
    Lines(Options),
    /// Native server-sent events.
    Sse(Options),
}

impl Format {
    pub fn wire(self) -> Wire {
        match self {
            Self::V10(_) => Wire::V10,
            Self::Lines(_) | Self::Sse(_) => Wire::Native,
        }
    }

    /// How many bytes of waiting chunks leave together; 0 when each goes alone.
    pub(super) fn frame(self) -> usize {
        if self == Self::V10(Frames::Merged) { FRAME } else { 0 }
    }

    /// The chunk of a status, and what was read since the last one for nothing.
    pub(super) fn status(self, view: &View, position: &Position, cost: Cost) -> Chunk {
        self.said(view, Some(position), |out| match self {
            Self::V10(_) => v10::status(out, view, position, cost),
            Self::Lines(_) | Self::Sse(_) => native::status(out, view, position),
        })
    }

    /// The chunk that says that the rows of a snapshot have all been sent.
    pub(super) fn snapshot_complete(self, view: &View, position: &Position) -> Chunk {
        self.said(view, Some(position), |out| match self {
            // Has no snapshots, and so no word for it.
            Self::V10(_) => v10::status(out, view, position, Cost::default()),
            Self::Lines(_) | Self::Sse(_) => native::snapshot_complete(out, view, position),
        })
    }

    /// The chunk of an error, the last one of a stream.
    pub(super) fn error(self, view: &View, refusal: &Refusal) -> Chunk {
        self.said(view, None, |out| match self {
            Self::V10(_) => v10::error(out, refusal),
            Self::Lines(_) | Self::Sse(_) => native::error(out, refusal),
        })
    }

    /// A chunk without an event.
    fn said(
        self,
        view: &View,
        position: Option<&Position>,
        write: impl FnOnce(&mut String),
    ) -> Chunk {
        let mut out = String::new();
        self.begin(&mut out, view, position);
        write(&mut out);
        self.finish(&mut out);
        Chunk { bytes: out.into(), events: 0, cost: Cost::default() }
    }

    /// Events, cut between two of them where one chunk would grow too large. Each of their changes
    /// took `micros`.
    pub(super) fn events<'a>(
        self,
        view: &View,
        events: impl Iterator<Item = Shown<'a>>,
        micros: u64,
    ) -> Vec<Chunk> {
        let most = if self == Self::V10(Frames::Single) { 0 } else { FRAME };
        let is_shown = |shown: &Shown<'a>| self.wire() == Wire::Native || v10::is_shown(*shown);
        let mut chunks = Vec::new();
        let mut open = String::new();
        let (mut count, mut cost) = (0, Cost::default());
        for shown in events.filter(is_shown) {
            let before = open.len();
            self.event(&mut open, view, shown, micros);
            if before > 0 && open.len() > most {
                let next = open.split_off(before);
                chunks.push(Chunk { bytes: Bytes::from(open), events: count, cost });
                open = next;
                (count, cost) = (0, Cost::default());
            }
            count += 1;
            cost += Cost { micros, ..Cost::of(shown.before.into_iter().chain(shown.after)) };
        }
        if count > 0 {
            chunks.push(Chunk { bytes: Bytes::from(open), events: count, cost });
        }
        chunks
    }

    fn event(self, out: &mut String, view: &View, shown: Shown<'_>, micros: u64) {
        self.begin(out, view, Some(shown.position));
        match self {
            Self::V10(_) => v10::event(out, view, shown, micros),
            Self::Lines(options) | Self::Sse(options) => native::event(out, view, shown, options),
        }
        self.finish(out);
    }

    fn begin(self, out: &mut String, view: &View, position: Option<&Position>) {
        if let Self::Sse(_) = self {
            if let Some(position) = position {
                out.push_str("id: ");
                out.push_str(&view.cursor(position));
                out.push('\n');
            }
            out.push_str("data: ");
        }
    }

    fn finish(self, out: &mut String) {
        out.push_str(match self {
            Self::V10(_) => "\r\n",
            Self::Lines(_) => "\n",
            Self::Sse(_) => "\n\n",
        });
    }
}
