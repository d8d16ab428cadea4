//! What the benchmarks' guard counts of the crates that are plain code: a thousand events in each wire,
//! and what the log holds of them read and folded.
//!
//! It says the name of each part on a line, in the order in which it runs them, and calls
//! [`end_of_part`] behind each: there callgrind writes down what it has counted.

use std::hint::black_box;
use std::sync::Arc;

use event_source_model::change::{Change, RowVersion, Side};
use event_source_model::encoding::Damaged;
use event_source_model::event::{Event, EventType, View};
use event_source_model::image::{Column, Image, Shape};
use event_source_model::net;
use event_source_model::payload::{self, ShapeId};
use event_source_model::position::Position;
use event_source_model::value::Value;
use event_source_wire::directus::message::{self, Kind};
use event_source_wire::directus::value as directus;
use event_source_wire::loopback::change as loopback;
use event_source_wire::native::{self, Options};
use event_source_wire::v4::event as v4;
use event_source_wire::v10;

const EVENTS: i64 = 1000;

#[expect(clippy::print_stdout, reason = "the guard reads it")]
fn main() {
    let (events, view) = (events(), view());
    let shape = &events[0].after.as_ref().expect("an update has one").shape;
    let id = ShapeId::of(shape).0;
    let encode = |event: &Event| {
        let mut bytes = Vec::new();
        payload::encode(&change(event), &mut |_| id, &mut bytes);
        bytes
    };
    let payloads: Vec<Vec<u8>> = events.iter().map(encode).collect();
    let mut changes: Vec<Vec<Change>> = Vec::with_capacity(events.len());
    let mut out = String::with_capacity(4096);
    let options = loopback::Options { output: loopback::Output::Events, exact: false };
    end_of_part("start");

    println!("decode");
    let shapes = &mut |_| Result::<_, Damaged>::Ok(Arc::clone(shape));
    let decoded = payloads.iter().map(|bytes| payload::decode(bytes, shapes));
    changes.extend(decoded.map(|decoded| decoded.expect("just encoded")));
    end_of_part("decode");

    println!("net");
    for changes in changes.drain(..) {
        black_box(net::net(changes));
    }
    end_of_part("net");

    let mut wire = |name: &str, render: &dyn Fn(&mut String, &Event)| {
        println!("{name}");
        for event in &events {
            out.clear();
            render(&mut out, black_box(event));
            assert!(!black_box(&out).is_empty(), "each event is shown");
        }
        end_of_part(name);
    };
    wire("native", &|out, event| native::event(out, &view, event.into(), Options::default()));
    wire("v10", &|out, event| v10::event(out, &view, event.into(), 1));
    wire("v4", &|out, event| {
        v4::event(out, &view, event.into(), &v4::Of::Document, v4::Fields::DEFAULT);
    });
    wire("directus", &|out, event| {
        let mut item = String::new();
        directus::item(&mut item, &view, event.image().expect("an update has one"), None);
        out.push_str(&message::event(Kind::Update, &format!("[{item}]"), Some("uid")));
    });
    wire("loopback", &|out, event| loopback::event(out, &view, event.into(), options));
}

/// Where callgrind stops to write; so it has to stay a function, and one with a name.
#[inline(never)]
fn end_of_part(name: &str) {
    black_box(name);
}

fn view() -> View {
    View { collection: "Product".to_owned(), fields: None, projection: None, history: 7 }
}

/// Updates of one column of a row as shops have them.
fn events() -> Vec<Event> {
    let names = ["id", "name", "price", "stock", "created", "labels"];
    let columns =
        names.iter().zip(1..).map(|(name, attnum)| Column { attnum, name: (*name).to_owned() });
    let shape = Arc::new(Shape { columns: columns.collect(), key: vec![0] });
    let image = |id: i64, stock: i64| Image {
        shape: Arc::clone(&shape),
        values: vec![
            Value::BigInt(id),
            Value::Text("A lamp, \"as new\"".to_owned()),
            Value::Numeric("129.90".to_owned()),
            Value::Int(stock),
            Value::Timestamptz(631_249_445_000_000 + id),
            Value::Json(r#"{"colour": "red", "sizes": [1, 2, 3]}"#.to_owned()),
        ],
    };
    let event = |number: i64| {
        // As many digits whatever the number.
        let after = image(number + 1_000_000, 20);
        Event {
            kind: EventType::Update,
            position: Position::at(1_700_000_000_000_000 + number, 0),
            key: after.key(),
            before: Some(image(number + 1_000_000, 10)),
            after: Some(after),
        }
    };
    (0..EVENTS).map(event).collect()
}

/// The change that an event comes from.
fn change(event: &Event) -> Change {
    let version = |offset| RowVersion { table: 16_384, block: 1, offset, made_by: None };
    let side = |image: &Option<Image>, offset| {
        image.clone().map(|image| Side { image, version: version(offset) })
    };
    Change {
        collection: 0x1234_5678_9abc,
        command: 0,
        fired: 0,
        before: side(&event.before, 1),
        after: side(&event.after, 2),
        rewrite: false,
    }
}
