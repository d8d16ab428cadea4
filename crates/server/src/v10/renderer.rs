//! Fauna's streams: lines that end in CRLF.

use std::time::Duration;

use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_wire::shown::Shown;
use event_source_wire::v10;

use crate::hub::{AtStop, Cut, Pace, Renderer};

/// How long small frames are apart: Node's driver loses every frame that comes while its user's code
/// waits.
const REST: Duration = Duration::from_millis(5);

/// How many events leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum V10 {
    /// As many as are ready and fit.
    Merged,
    /// One, as Fauna's server sent them: the driver for Java reads the first one of what comes at once
    /// and drops the rest.
    Single,
}

impl Renderer for V10 {
    fn name(&self) -> String {
        format!("v10 {self:?}")
    }

    fn event(&self, out: &mut String, view: &View, shown: Shown<'_>, micros: u64) {
        if v10::is_shown(shown) {
            v10::event(out, view, shown, micros);
            out.push_str("\r\n");
        }
    }

    fn status(&self, out: &mut String, view: &View, position: &Position, cost: Cost) {
        v10::status(out, view, position, cost);
        out.push_str("\r\n");
    }

    fn snapshot_complete(&self, _out: &mut String, _view: &View, _position: &Position) {
        // Has no snapshots, and so no word for it.
    }

    fn error(&self, out: &mut String, _view: &View, refusal: &Refusal) {
        v10::error(out, refusal);
        out.push_str("\r\n");
    }

    fn cut(&self) -> Cut {
        match self {
            Self::Merged => Cut::Frames,
            Self::Single => Cut::Lines,
        }
    }

    fn pace(&self) -> Pace {
        match self {
            Self::Merged => Pace::Rest(REST),
            Self::Single => Pace::Flush,
        }
    }

    /// Fauna's Python driver takes a clean end for the end and never resumes.
    fn at_stop(&self) -> AtStop {
        AtStop::Cut
    }

    fn may_start_before_token(&self) -> bool {
        false
    }
}
