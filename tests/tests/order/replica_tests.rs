//! What the checks notice, without any database: a check that cannot fail proves nothing.

use event_source_tests::consume::{Event, Kind};
use serde_json::{Value, json};

use super::replica::{Disorder, Replica, same_sequence};
use super::table::Shape;

fn row(id: i32, v: i32) -> Value {
    json!({ "id": id, "v": v })
}

/// An event of the row with key 1 at a position.
fn event(at: i64, kind: Kind, prev: Option<Value>, data: Value) -> Event {
    Event {
        kind,
        txn_ts: Some(at),
        cursor: Some(format!("c{at}-{data}")),
        key: Some(data["id"].clone()),
        data: Some(data),
        prev,
        diff: None,
        error: None,
    }
}

/// An insert, two updates and a delete.
fn history() -> [Event; 4] {
    [
        event(1, Kind::Add, None, row(1, 0)),
        event(2, Kind::Update, Some(row(1, 0)), row(1, 1)),
        event(3, Kind::Update, Some(row(1, 1)), row(1, 2)),
        event(4, Kind::Remove, None, row(1, 2)),
    ]
}

fn follow(shape: Shape, events: impl IntoIterator<Item = Event>) -> Result<Replica, Disorder> {
    let mut replica = Replica::new(shape);
    for event in events {
        replica.apply(event)?;
    }
    Ok(replica)
}

const SHAPES: [Shape; 2] = [Shape::Plain, Shape::Keyless];

#[test]
fn a_sound_history_is_accepted() {
    for shape in SHAPES {
        let replica = follow(shape, history()).expect("it is sound");
        replica.compare(&[]).expect("the row is gone");
        let replica = follow(shape, history().into_iter().take(3)).expect("it is sound");
        replica.compare(&[row(1, 2)]).expect("the row is there");
    }
}

#[test]
fn any_missing_event_is_noticed() {
    for shape in SHAPES {
        for missing in 0..4 {
            let mut events = history().to_vec();
            events.remove(missing);
            let found = follow(shape, events).and_then(|replica| replica.compare(&[]));
            assert!(found.is_err(), "{shape:?} without event {missing}");
        }
    }
}

#[test]
fn any_repeated_event_is_noticed() {
    for shape in SHAPES {
        for twice in 0..4 {
            let mut events = history().to_vec();
            events.insert(twice, events[twice].clone());
            let found = follow(shape, events);
            assert!(matches!(found, Err(Disorder::Position { .. })), "{shape:?}, event {twice}");
        }
    }
}

#[test]
fn any_two_swapped_events_are_noticed() {
    for shape in SHAPES {
        for first in 0..3 {
            let mut events = history().to_vec();
            events.swap(first, first + 1);
            assert!(follow(shape, events.clone()).is_err(), "{shape:?}, event {first}");
            // Also when their positions look right.
            for (at, event) in (1..).zip(&mut events) {
                event.txn_ts = Some(at);
            }
            assert!(follow(shape, events).is_err(), "{shape:?}, event {first} by image");
        }
    }
}

#[test]
fn a_wrong_last_image_is_noticed() {
    for shape in SHAPES {
        let replica = follow(shape, history().into_iter().take(3)).expect("it is sound");
        for table in [vec![row(1, 1)], vec![], vec![row(1, 2), row(1, 2)]] {
            assert!(replica.compare(&table).is_err(), "{shape:?}: {table:?}");
        }
    }
}

#[test]
fn two_orders_are_noticed() {
    same_sequence(("a", &[1, 2, 3]), ("b", &[1, 2, 3])).expect("they are equal");
    for other in [&[1, 3, 2][..], &[1, 2][..], &[1, 2, 3, 4][..]] {
        same_sequence(("a", &[1, 2, 3]), ("b", other)).expect_err("they differ");
    }
}
