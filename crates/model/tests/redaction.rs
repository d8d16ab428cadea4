//! What is left of a row whose past was erased.

use std::sync::Arc;

use event_source_model::change::{Change, RowVersion, Side};
use event_source_model::image::{Column, Image, Shape};
use event_source_model::net;
use event_source_model::redaction::Redaction;
use event_source_model::value::Value;

/// A column `email` before the key, so that the key's place changes when it goes.
fn image(id: &str, email: &str) -> Image {
    let column = |attnum, name: &str| Column { attnum, name: name.to_owned() };
    let shape = Shape {
        columns: vec![column(1, "email"), column(2, "id"), column(3, "city")],
        key: vec![1],
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let values = vec![text(email), Value::Numeric(id.to_owned()), text("here")];
    Image { shape: Arc::new(shape), values }
}

fn side(image: Image) -> Option<Side> {
    Some(Side { image, version: RowVersion { table: 1, block: 0, offset: 1, made_by: None } })
}

fn update(collection: u64, id: &str) -> Change {
    Change {
        collection,
        command: 0,
        fired: 0,
        before: side(image(id, "old")),
        after: side(image(id, "new")),
        rewrite: false,
    }
}

fn names(side: &Option<Side>) -> Vec<&str> {
    let shape = &side.as_ref().expect("it is there").image.shape;
    shape.columns.iter().map(|column| column.name.as_str()).collect()
}

fn whole(key: &str) -> Redaction {
    Redaction { collection: 7, key: vec![key.to_owned()], columns: None }
}

#[test]
fn of_a_whole_row_only_the_key_is_left_on_both_sides() {
    let mut changes = [update(7, "1.00"), update(7, "2"), update(8, "1")];
    assert!(whole("1").apply(&mut changes));
    assert_eq!((names(&changes[0].before), names(&changes[0].after)), (vec!["id"], vec!["id"]));
    assert_eq!(changes[0].key().expect("it keeps its key").text(), "1.00");
    assert_eq!(changes[1], update(7, "2"), "another row");
    assert_eq!(changes[2], update(8, "1"), "another collection");
    assert!(!whole("1").apply(&mut changes), "nothing is left to erase");
}

#[test]
fn of_some_columns_the_others_are_left_and_the_key_always() {
    let mut changes = [update(7, "1")];
    let columns = Some(vec![1, 2]);
    assert!(Redaction { columns, ..whole("1") }.apply(&mut changes));
    assert_eq!(names(&changes[0].after), ["id", "city"]);
}

#[test]
fn a_rewrite_is_an_event_of_its_own_beside_what_happened_to_the_row() {
    let rewrite = Change { before: None, rewrite: true, command: 1, ..update(7, "1") };
    let net = net::net(vec![update(7, "1"), rewrite]);
    let told: Vec<_> = net.iter().map(|c| (c.rewrite, c.before.is_some())).collect();
    assert_eq!(told, [(false, true), (true, false)]);
}
