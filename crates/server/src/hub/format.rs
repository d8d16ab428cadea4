//! One wire's bytes for events, cut into chunks.

use bytes::Bytes;
use event_source_door::message::Wire;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_wire::native::{self, Options};
use event_source_wire::shown::Shown;
use event_source_wire::v10;

use super::queue::Chunk;

/// How much goes into one chunk. Node's Fauna driver overwrites events of one frame by those of
/// the next while its user's code waits: what belongs together must fit a frame of HTTP/2.
const CHUNK: usize = 16 * 1024;

/// Which bytes a stream gets. Streams of one source and format get the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Fauna v10: lines that end in CRLF.
    V10,
    /// Native JSON lines.
    Lines(Options),
    /// Native server-sent events.
    Sse(Options),
}

impl Format {
    pub fn wire(self) -> Wire {
        match self {
            Self::V10 => Wire::V10,
            Self::Lines(_) | Self::Sse(_) => Wire::Native,
        }
    }

    /// The chunk of a status.
    pub(super) fn status(self, view: &View, position: &Position) -> Chunk {
        let mut out = String::new();
        self.begin(&mut out, view, Some(position));
        match self {
            Self::V10 => v10::status(&mut out, view, position),
            Self::Lines(_) | Self::Sse(_) => native::status(&mut out, view, position),
        }
        self.finish(&mut out);
        Chunk { bytes: out.into(), events: 0 }
    }

    /// The chunk that says that the rows of a snapshot have all been sent.
    pub(super) fn snapshot_complete(self, view: &View, position: &Position) -> Chunk {
        let mut out = String::new();
        self.begin(&mut out, view, Some(position));
        match self {
            // Has no snapshots, and so no word for it.
            Self::V10 => v10::status(&mut out, view, position),
            Self::Lines(_) | Self::Sse(_) => native::snapshot_complete(&mut out, view, position),
        }
        self.finish(&mut out);
        Chunk { bytes: out.into(), events: 0 }
    }

    /// The chunk of an error, the last one of a stream.
    pub(super) fn error(self, view: &View, refusal: &Refusal) -> Chunk {
        let mut out = String::new();
        self.begin(&mut out, view, None);
        match self {
            Self::V10 => v10::error(&mut out, refusal),
            Self::Lines(_) | Self::Sse(_) => native::error(&mut out, refusal),
        }
        self.finish(&mut out);
        Chunk { bytes: out.into(), events: 0 }
    }

    /// Events, cut between two of them where one chunk would grow too large.
    pub(super) fn events<'a>(
        self,
        view: &View,
        events: impl Iterator<Item = Shown<'a>>,
    ) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut open = String::new();
        let mut count = 0;
        for shown in events.filter(|shown| self != Self::V10 || v10::is_shown(*shown)) {
            let before = open.len();
            self.event(&mut open, view, shown);
            if before > 0 && open.len() > CHUNK {
                let next = open.split_off(before);
                chunks.push(Chunk { bytes: Bytes::from(open), events: count });
                open = next;
                count = 0;
            }
            count += 1;
        }
        if count > 0 {
            chunks.push(Chunk { bytes: Bytes::from(open), events: count });
        }
        chunks
    }

    fn event(self, out: &mut String, view: &View, shown: Shown<'_>) {
        self.begin(out, view, Some(shown.position));
        match self {
            Self::V10 => v10::event(out, view, shown),
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
            Self::V10 => "\r\n",
            Self::Lines(_) => "\n",
            Self::Sse(_) => "\n\n",
        });
    }
}
