//! Native streams: JSON lines, or server-sent events.

use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::events::Sides;
use event_source_model::position::Position;
use event_source_wire::native::{self, Options};
use event_source_wire::shown::Shown;

use crate::hub::{Cut, Renderer};

/// How events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Lines,
    Sse,
}

#[derive(Debug)]
pub(super) struct Native {
    pub framing: Framing,
    pub options: Options,
}

impl Native {
    fn framed(
        &self,
        out: &mut String,
        id: Option<(&View, &Position)>,
        write: impl FnOnce(&mut String),
    ) {
        match self.framing {
            Framing::Lines => {
                write(out);
                out.push('\n');
            }
            Framing::Sse => {
                if let Some((view, position)) = id {
                    out.push_str("id: ");
                    out.push_str(&view.cursor(position));
                    out.push('\n');
                }
                out.push_str("data: ");
                write(out);
                out.push_str("\n\n");
            }
        }
    }
}

impl Renderer for Native {
    fn name(&self) -> String {
        format!("native {self:?}")
    }

    fn event(&self, out: &mut String, view: &View, shown: Shown<'_>, _micros: u64) {
        self.framed(out, Some((view, shown.position)), |out| {
            native::event(out, view, shown, self.options);
        });
    }

    fn status(&self, out: &mut String, view: &View, position: &Position, _cost: Cost) {
        self.framed(out, Some((view, position)), |out| native::status(out, view, position));
    }

    fn snapshot_complete(&self, out: &mut String, view: &View, position: &Position) {
        self.framed(out, Some((view, position)), |out| {
            native::snapshot_complete(out, view, position);
        });
    }

    fn error(&self, out: &mut String, _view: &View, refusal: &Refusal) {
        self.framed(out, None, |out| native::error(out, refusal));
    }

    fn cut(&self) -> Cut {
        Cut::Chunks
    }

    fn sides(&self) -> Sides {
        self.options.sides()
    }
}
