//! The names that a subscription uses, numbered: the worker says by a name's place which of them is wrong.

use event_source_model::query::{Failure, Fault, Name, Span};
use event_source_wire::directus::error::{self, Problem};

#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// The name at the next place.
    pub(super) fn name(&mut self, text: &str) -> Name {
        let start = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(text.to_owned());
        Name { text: text.to_owned(), span: Span { start, end: start.saturating_add(1) } }
    }

    /// The name at exactly this place.
    fn at(&self, span: Span) -> Option<&str> {
        let is_one = span.end == span.start.saturating_add(1);
        is_one.then(|| self.0.get(span.start as usize))?.map(String::as_str)
    }

    /// What the worker says, in Directus' words. The collection is the first name.
    pub(super) fn problem(&self, failure: &Failure) -> Problem {
        let collection = self.0.first().map_or("", String::as_str);
        let is_field = failure.span.start > 0;
        match (failure.fault, self.at(failure.span)) {
            (Fault::UnboundVariable | Fault::PermissionDenied, _) => {
                Problem::no_collection(collection)
            }
            (Fault::InvalidQuery, Some(field)) if is_field => Problem::no_field(field, collection),
            (Fault::TimeOut | Fault::Contended, _) => {
                Problem::new(error::SERVICE_UNAVAILABLE, said(failure))
            }
            _ => Problem::query(format_args!("{}.", said(failure))),
        }
    }
}

fn said(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{} ({hint})", failure.message),
        None => failure.message.clone(),
    }
}
