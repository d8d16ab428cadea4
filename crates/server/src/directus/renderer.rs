//! Events as lines for the connection, which makes messages of them.
//!
//! Directus tells a row that enters the filter by an update as `update`, and one that leaves it not at all.

use event_source_model::cost::Cost;
use event_source_model::event::{EventType, Refusal, View};
use event_source_model::image::Image;
use event_source_model::position::Position;
use event_source_model::value::Value;
use event_source_wire::directus::error;
use event_source_wire::directus::message::Kind;
use event_source_wire::directus::value;
use event_source_wire::shown::Shown;

use super::line;
use crate::hub::{Cut, Renderer};

/// What of a subscription changes a byte.
#[derive(Debug)]
pub(super) struct Directus {
    /// The only kind that is told.
    pub event: Option<Kind>,
    /// What leaves the filter is deleted.
    pub exact: bool,
    /// Keys of deleted items are strings.
    pub of_item: bool,
    /// How many of the fields are shown; the others are only sorted by.
    pub fields: Option<usize>,
    /// The fields that items are sorted by.
    pub sort: Vec<String>,
}

impl Directus {
    fn kind(&self, shown: &Shown<'_>) -> Option<Kind> {
        let kind = match (shown.kind, shown.before, shown.after) {
            (EventType::Add, None, _) => Kind::Create,
            (EventType::Add, Some(_), _) | (EventType::Update, ..) => Kind::Update,
            (EventType::Remove, _, Some(_)) if !self.exact => return None,
            (EventType::Remove, ..) => Kind::Delete,
            // Of the past, of which this protocol tells nothing.
            (EventType::HistoryRewrite, ..) => return None,
        };
        self.event.is_none_or(|event| event == kind).then_some(kind)
    }

    fn by(&self, image: &Image) -> Vec<Value> {
        let value = |field: &String| {
            let column = image.fields().find(|(column, _)| column.name == *field);
            column.map_or(Value::Null, |(_, value)| value.clone())
        };
        self.sort.iter().map(value).collect()
    }
}

impl Renderer for Directus {
    fn name(&self) -> String {
        format!("directus {self:?}")
    }

    fn event(&self, out: &mut String, view: &View, shown: Shown<'_>, _micros: u64) {
        let Some(kind) = self.kind(&shown) else { return };
        let (txn_ts, cursor) = (shown.position.txn_ts, view.cursor(shown.position));
        match (kind, shown.image()) {
            (Kind::Delete, _) | (_, None) => {
                line::begin(out, kind, txn_ts, &cursor, &[]);
                if self.of_item {
                    value::key_text(out, shown.key);
                } else {
                    value::key(out, shown.key);
                }
            }
            (_, Some(image)) => {
                line::begin(out, kind, txn_ts, &cursor, &self.by(image));
                value::item(out, view, image, self.fields);
            }
        }
        out.push('\n');
    }

    fn status(&self, out: &mut String, view: &View, position: &Position, _cost: Cost) {
        line::at(out, &view.cursor(position));
    }

    fn error(&self, out: &mut String, _view: &View, refusal: &Refusal) {
        line::end(out, error::code(refusal.reason), &said(refusal));
    }

    fn cut(&self) -> Cut {
        Cut::Frames
    }
}

/// A refusal as one text.
pub(super) fn said(refusal: &Refusal) -> String {
    match &refusal.hint {
        Some(hint) => format!("{} ({hint})", refusal.message),
        None => refusal.message.clone(),
    }
}
