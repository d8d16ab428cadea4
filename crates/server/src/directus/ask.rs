//! A subscription as a question to the worker: the items that there are, and a source of what happens behind
//! them, both of one snapshot.

use event_source_model::event::View;
use event_source_model::image::Image;
use event_source_model::query::{
    Answer, Ask, Constant, EventSource, Failure, Name, Of, Order, Rows, Shown,
};
use event_source_wire::directus::error::Problem;
use event_source_wire::directus::message::Kind;
use event_source_wire::directus::value;

use super::names::Names;
use super::query::{self, Query};
use super::renderer::Directus;
use super::request::Subscribe;
use super::subscription::Shape;

/// A subscription that is understood.
#[derive(Debug)]
pub(super) struct Asked {
    names: Names,
    pub ask: Ask,
    event: Option<Kind>,
    item: Option<String>,
    exact: bool,
    /// How many of the fields are shown, where they are chosen.
    fields: Option<usize>,
    sort: Vec<String>,
    pub shape: Shape,
}

/// What a subscription begins with.
#[derive(Debug)]
pub(super) struct Begun {
    pub token: String,
    /// JSON; nothing where one event is asked for.
    pub data: Option<String>,
}

/// # Errors
/// The query is wrong, or has what is not served.
pub(super) fn ask(subscribe: Subscribe) -> Result<Asked, Problem> {
    let Subscribe { uid, collection, event, item, query, exact } = subscribe;
    let mut names = Names::default();
    let collection = names.name(&collection);
    let Query { fields, filter, sort, window } = query::read(query, &mut names)?;
    let order: Vec<Order> = sort
        .iter()
        .map(|(field, descending)| Order { column: names.name(field), descending: *descending })
        .collect();
    let of = match &item {
        Some(key) => {
            let key = Constant::Text(key.clone());
            Of::Key { key, span: collection.span }
        }
        None => Of::All,
    };
    let rows = |shown| Rows {
        collection: collection.clone(),
        of: of.clone(),
        filter: filter.clone(),
        shown,
    };
    let sorted_by: Vec<String> = sort.iter().map(|(field, _)| field.clone()).collect();
    let (shown, with_sorted) = match &fields {
        Some(fields) => {
            let mut shown = object(fields, &mut names);
            let first = Shown::Object(shown.clone());
            let others = sorted_by.iter().filter(|field| !fields.contains(field));
            shown.extend(object(others, &mut names));
            (first, Shown::Object(shown))
        }
        None => (Shown::Document, Shown::Document),
    };
    let source = EventSource::of(rows(with_sorted), collection.span);
    // Of one item only its own: the set has no other.
    let source = Ask::EventSource(EventSource { lasts: true, every_delete: !exact, ..source });
    let items = match (&item, event) {
        (Some(_), None) => Ask::Row(rows(shown)),
        (None, None) => {
            let (skip, limit) = (window.skip, window.of_init());
            Ask::Sorted { rows: rows(shown), order, skip, limit }
        }
        // Asked for all the same, so that a table without a key is refused at once.
        (None, Some(_)) => Ask::Sorted { rows: rows(shown), order, skip: 0, limit: Some(0) },
        (Some(_), Some(_)) => Ask::Constant(Constant::Null),
    };
    Ok(Asked {
        names,
        // The source first: it is what checks each column.
        ask: Ask::Array(vec![source, items]),
        event,
        exact,
        fields: fields.map(|fields| fields.len()),
        shape: Shape {
            uid: uid.map(|uid| uid.text().to_owned()),
            of_item: item.is_some(),
            window,
            descending: sort.iter().map(|(_, descending)| *descending).collect(),
        },
        item,
        sort: sorted_by,
    })
}

fn object<'a>(
    fields: impl IntoIterator<Item = &'a String>,
    names: &mut Names,
) -> Vec<(String, Name)> {
    fields.into_iter().map(|field| (field.clone(), names.name(field))).collect()
}

impl Asked {
    /// How the events of the source are written.
    pub(super) fn renderer(&self) -> Directus {
        Directus {
            event: self.event,
            exact: self.exact,
            of_item: self.item.is_some(),
            fields: self.fields,
            sort: self.sort.clone(),
        }
    }

    pub(super) fn problem(&self, failure: &Failure) -> Problem {
        self.names.problem(failure)
    }

    /// # Errors
    /// There is no such item.
    pub(super) fn begun(&self, answer: Answer) -> Result<Begun, Problem> {
        let Answer::Array(parts) = answer else { return Err(strange()) };
        let mut parts = parts.into_iter();
        let (Some(Answer::EventSource(token)), Some(items)) = (parts.next(), parts.next()) else {
            return Err(strange());
        };
        let data = match items {
            _ if self.event.is_some() => None,
            Answer::Page { view, rows, .. } => Some(list(&view, &rows)),
            Answer::Row { view, row: Some(row), .. } => {
                let mut data = String::new();
                value::item(&mut data, &view, &row, None);
                Some(data)
            }
            Answer::Row { row: None, .. } => return Err(Problem::no_item()),
            _ => return Err(strange()),
        };
        Ok(Begun { token, data })
    }
}

fn list(view: &View, rows: &[Image]) -> String {
    let mut data = "[".to_owned();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            data.push(',');
        }
        value::item(&mut data, view, row, None);
    }
    data.push(']');
    data
}

fn strange() -> Problem {
    Problem::query("The answer is of another kind.")
}

#[cfg(test)]
mod tests {
    use event_source_model::query::Span;

    use super::*;
    use crate::directus::request::{Request, read};

    fn asked(text: &str) -> Asked {
        let Ok(Request::Subscribe(subscribe)) = read(text) else { panic!("a subscription") };
        ask(subscribe).unwrap()
    }

    #[test]
    fn fields_that_are_only_sorted_by_are_of_the_source_and_not_of_the_item() {
        let text =
            r#"{"type":"subscribe","collection":"a","query":{"fields":"id","sort":"-n,id"}}"#;
        let asked = asked(text);
        let Ask::Array(parts) = &asked.ask else { panic!("two parts") };
        let Ask::EventSource(source) = &parts[0] else { panic!("a source") };
        let Shown::Object(shown) = &source.rows.shown else { panic!("fields") };
        let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["id", "n"]);
        assert!(source.every_delete && source.lasts);
        let Ask::Sorted { order, limit: Some(100), skip: 0, .. } = &parts[1] else {
            panic!("sorted")
        };
        assert!(order[0].descending && !order[1].descending);
        assert_eq!(asked.renderer().fields, Some(1));
    }

    #[test]
    fn one_event_asks_for_no_items() {
        let asked = asked(r#"{"type":"subscribe","collection":"a","event":"create","exact":true}"#);
        let Ask::Array(parts) = &asked.ask else { panic!("two parts") };
        assert!(matches!(&parts[1], Ask::Sorted { limit: Some(0), .. }));
        let Ask::EventSource(source) = &parts[0] else { panic!("a source") };
        assert!(!source.every_delete);
    }

    #[test]
    fn a_name_that_is_wrong_is_found_by_its_place() {
        use event_source_model::query::Fault;
        let text =
            r#"{"type":"subscribe","collection":"a","query":{"filter":{"n":1},"fields":"x"}}"#;
        let asked = asked(text);
        let wrong = |fault, start, end| {
            asked.problem(&Failure::new(fault, "it is wrong", Span { start, end })).message
        };
        assert!(wrong(Fault::InvalidQuery, 1, 2).contains("field \"n\" in collection \"a\""));
        assert!(wrong(Fault::InvalidQuery, 2, 3).contains("field \"x\" in collection \"a\""));
        assert!(wrong(Fault::UnboundVariable, 0, 1).contains("collection \"a\""));
        assert_eq!(wrong(Fault::InvalidQuery, 0, 1), "Invalid query. it is wrong.");
        assert_eq!(wrong(Fault::InvalidArgument, 1, 2), "Invalid query. it is wrong.");
    }
}
