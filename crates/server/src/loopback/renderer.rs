//! Change streams as the hub sees them.

use event_source_model::cost::Cost;
use event_source_model::event::{Refusal, View};
use event_source_model::position::Position;
use event_source_wire::loopback::change::{self, Options};
use event_source_wire::shown::Shown;

use crate::hub::{Cut, Renderer};

#[derive(Debug)]
pub(super) struct Changes(pub Options);

impl Renderer for Changes {
    fn name(&self) -> String {
        format!("loopback {:?}", self.0)
    }

    fn event(&self, out: &mut String, view: &View, shown: Shown<'_>, _micros: u64) {
        change::event(out, view, shown, self.0);
    }

    fn started(&self, out: &mut String, view: &View, position: &Position, _cost: Cost) {
        change::started(out, view, position, self.0);
    }

    fn status(&self, out: &mut String, view: &View, position: &Position, _cost: Cost) {
        change::status(out, view, position, self.0);
    }

    fn error(&self, out: &mut String, _view: &View, refusal: &Refusal) {
        change::failed(out, refusal, self.0);
    }

    fn cut(&self) -> Cut {
        Cut::Chunks
    }
}
