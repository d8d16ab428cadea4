//! What the checks notice, without any database: a check that cannot fail proves nothing.

use event_source_model::position::{Cursor, Position};
use serde_json::{Value, json};

use super::replica::{Identity, Replica, same_sequence};
use super::{Disorder, Form};
use crate::consume::{Event, Kind};

fn row(id: i32, v: i32) -> Value {
    json!({ "id": id, "v": v })
}

fn cursor(txn_ts: i64, ordinal: u32) -> String {
    Cursor { history: 1, position: Position::at(txn_ts, ordinal) }.encode()
}

/// An event of the row with key 1 at a position.
fn event(at: i64, kind: Kind, prev: Option<Value>, data: Value) -> Event {
    Event {
        kind,
        txn_ts: Some(at),
        cursor: Some(cursor(at, 0)),
        key: Some(data["id"].clone()),
        data: Some(data),
        prev,
        diff: None,
        snapshot: None,
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

fn follow(
    identity: Identity,
    events: impl IntoIterator<Item = Event>,
) -> Result<Replica, Disorder> {
    let mut replica = Replica::new(identity);
    for event in events {
        replica.apply(&event)?;
    }
    Ok(replica)
}

const IDENTITIES: [Identity; 2] = [Identity::ID, Identity::BAG];

#[test]
fn a_sound_history_is_accepted() {
    for identity in IDENTITIES {
        let replica = follow(identity, history()).expect("it is sound");
        replica.compare(&[]).expect("the row is gone");
        let replica = follow(identity, history().into_iter().take(3)).expect("it is sound");
        replica.compare(&[row(1, 2)]).expect("the row is there");
    }
}

#[test]
fn any_missing_event_is_noticed() {
    for identity in IDENTITIES {
        for missing in 0..4 {
            let mut events = history().to_vec();
            events.remove(missing);
            let found = follow(identity, events).and_then(|replica| replica.compare(&[]));
            assert!(found.is_err(), "{identity:?} without event {missing}");
        }
    }
}

#[test]
fn any_repeated_event_is_noticed() {
    for identity in IDENTITIES {
        for twice in 0..4 {
            let mut events = history().to_vec();
            events.insert(twice, events[twice].clone());
            let found = follow(identity, events);
            assert!(matches!(found, Err(Disorder::Position { .. })), "{identity:?}, event {twice}");
        }
    }
}

#[test]
fn any_two_swapped_events_are_noticed() {
    for identity in IDENTITIES {
        for first in 0..3 {
            let mut events = history().to_vec();
            events.swap(first, first + 1);
            assert!(follow(identity, events.clone()).is_err(), "{identity:?}, event {first}");
            // Also when their positions look right.
            for (at, event) in (1..).zip(&mut events) {
                (event.txn_ts, event.cursor) = (Some(at), Some(cursor(at, 0)));
            }
            assert!(follow(identity, events).is_err(), "{identity:?}, event {first} by image");
        }
    }
}

#[test]
fn a_wrong_last_image_is_noticed() {
    for identity in IDENTITIES {
        let replica = follow(identity, history().into_iter().take(3)).expect("it is sound");
        for table in [vec![row(1, 1)], vec![], vec![row(1, 2), row(1, 2)]] {
            assert!(replica.compare(&table).is_err(), "{identity:?}: {table:?}");
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

#[test]
fn a_transaction_that_comes_in_two_pieces_is_noticed() {
    let identity = Identity { writer: Some("tx"), ..Identity::ID };
    let add = |at: i64, ordinal: u32, id: i32, tx: i32| Event {
        cursor: Some(cursor(at, ordinal)),
        ..event(at, Kind::Add, None, json!({ "id": id, "tx": tx }))
    };
    follow(identity, [add(1, 0, 1, 7), add(1, 1, 2, 7), add(2, 0, 3, 8)]).expect("it is sound");
    for pieces in [
        [add(1, 0, 1, 7), add(1, 1, 2, 8), add(2, 0, 3, 9)],
        [add(1, 0, 1, 7), add(2, 0, 2, 8), add(3, 0, 3, 7)],
    ] {
        let found = follow(identity, pieces);
        assert!(matches!(found, Err(Disorder::Transaction { .. })), "{found:?}");
    }
}

#[test]
fn a_status_that_goes_back_is_noticed() {
    let mut replica = Replica::new(Identity::ID);
    let status = |at: i64| Event { kind: Kind::Status, ..event(at, Kind::Add, None, row(1, 0)) };
    replica.pass(&status(5)).expect("the first one");
    replica.pass(&status(5)).expect("the same again");
    replica.pass(&status(4)).expect_err("it goes back");
    replica.apply(&event(5, Kind::Add, None, row(1, 0))).expect_err("it has passed");
    replica.apply(&event(6, Kind::Add, None, row(1, 0))).expect("it is new");
}

#[test]
fn a_document_is_checked_by_its_key_and_its_last_image() {
    let identity = Identity { form: Form::Document, ..Identity::ID };
    let document = |event: Event| Event {
        key: Some(json!("1")),
        data: event.data.map(|data| json!({ "v": data["v"] })),
        prev: None,
        ..event
    };
    let three = || history().into_iter().take(3).map(document);
    let replica = follow(identity, three()).expect("it is sound");
    replica.compare(&[row(1, 2)]).expect("the row is there");
    replica.compare(&[row(1, 1)]).expect_err("the last image is another");
    assert!(follow(identity, three().skip(1)).is_err(), "an update of nothing");
}
