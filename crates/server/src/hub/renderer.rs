//! What a protocol is to the hub: bytes for what happens.

use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::events::Sides;
use event_source_model::position::Position;
use event_source_wire::shown::Shown;

/// One way of writing a stream. It is asked under the hub's lock, and must only write.
pub trait Renderer: Debug + Send + Sync {
    /// The protocol and every option that changes a byte: of two renderers of one name each gives what
    /// the other would, and so their streams share one rendering.
    fn name(&self) -> String;

    /// An event; nothing where the protocol has no word for it. Of a change and its share of the time, in
    /// microseconds.
    fn event(&self, out: &mut String, view: &View, shown: Shown<'_>, micros: u64);

    /// What a stream begins with.
    fn started(&self, out: &mut String, view: &View, position: &Position, cost: Cost) {
        self.status(out, view, position, cost);
    }

    /// Where the reader is when nothing happens, and what was read since the last status for nothing.
    fn status(&self, out: &mut String, view: &View, position: &Position, cost: Cost);

    /// The rows of a snapshot have all been sent.
    fn snapshot_complete(&self, out: &mut String, view: &View, position: &Position) {
        self.status(out, view, position, Cost::default());
    }

    /// Why nothing more comes.
    fn error(&self, out: &mut String, view: &View, refusal: &Refusal);

    /// How the bytes are cut into frames.
    fn cut(&self) -> Cut;

    /// The images that [`Renderer::event`] looks at: what is not needed need not be decoded.
    fn sides(&self) -> Sides {
        Sides::Both
    }

    /// What happens between two frames with events.
    fn pace(&self) -> Pace {
        Pace::None
    }

    /// How a stream ends when the server is stopped.
    fn at_stop(&self) -> AtStop {
        AtStop::Told
    }

    /// Whether a stream may be asked to begin before its token does.
    fn may_start_before_token(&self) -> bool {
        true
    }
}

/// How the bytes of a stream are cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Of up to 16 KB, of whole events, with everything that is ready.
    Frames,
    /// The same, of what became ready together.
    Chunks,
    /// Each line of an event is one, line end and all.
    Lines,
}

/// What happens between two frames with events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    None,
    /// HTTP gets to write the first one before it is given another.
    Flush,
    /// What is not a whole frame waits, for readers that lose what comes too early.
    Rest(Duration),
}

/// How a stream ends when the server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStop {
    /// By an error and a clean end.
    Told,
    /// The connection is cut, for clients that take a clean end for the end and never resume.
    Cut,
}

/// A renderer as streams are sorted by it.
#[derive(Clone)]
pub struct Format {
    name: Arc<str>,
    renderer: Arc<dyn Renderer>,
}

impl Format {
    pub fn of(renderer: impl Renderer + 'static) -> Self {
        Self { name: renderer.name().into(), renderer: Arc::new(renderer) }
    }
}

impl std::ops::Deref for Format {
    type Target = dyn Renderer;

    fn deref(&self) -> &Self::Target {
        &*self.renderer
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl Hash for Format {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Debug for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Format({})", self.name)
    }
}
