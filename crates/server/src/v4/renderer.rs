//! v4's streams: a line for each event, each in a frame of its own.

use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_wire::shown::Shown;
use event_source_wire::v4::event::{self as wire, Fields, Of};
use event_source_wire::v4::frame::HEARTBEAT;

use crate::hub::{Cut, Renderer};

#[derive(Debug)]
pub(super) struct V4 {
    pub(super) of: Of,
    pub(super) fields: Fields,
    /// From when on the stream is complete. Of this stream alone, and so no part of the name: no event is
    /// written by it.
    pub(super) since: i64,
}

impl Renderer for V4 {
    fn name(&self) -> String {
        format!("v4 {:?} {:?}", self.of, self.fields)
    }

    fn event(&self, out: &mut String, view: &View, shown: Shown<'_>, _micros: u64) {
        wire::event(out, view, shown, &self.of, self.fields);
    }

    /// The token may start earlier: behind it is only what the statement that made it saw.
    fn started(&self, out: &mut String, _view: &View, _position: &Position, _cost: Cost) {
        wire::start(out, self.since);
    }

    fn status(&self, out: &mut String, _view: &View, _position: &Position, _cost: Cost) {
        out.push_str(HEARTBEAT);
    }

    fn error(&self, out: &mut String, _view: &View, refusal: &Refusal) {
        wire::error(out, refusal);
    }

    fn cut(&self) -> Cut {
        Cut::Lines
    }
}
