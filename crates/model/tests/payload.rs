//! The payload of the log: what is written is read, and nothing that is read panics.

mod support;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use event_source_model::change::{Change, RowVersion, Side};
use event_source_model::cost::Cost;
use event_source_model::encoding::{Damaged, Reader, Values};
use event_source_model::image::{Image, Shape};
use event_source_model::look;
use event_source_model::payload::{self, ShapeId};
use event_source_model::place::{self, Run};
use proptest::prelude::*;
use support::{shape, value, values};

fn version() -> impl Strategy<Value = RowVersion> {
    (any::<u32>(), any::<u32>(), any::<u16>(), any::<Option<u32>>())
        .prop_map(|(table, block, offset, made_by)| RowVersion { table, block, offset, made_by })
}

fn side(shape: Arc<Shape>) -> impl Strategy<Value = Side> {
    (values(shape.columns.len()), version()).prop_map(move |(values, version)| Side {
        image: Image { shape: Arc::clone(&shape), values },
        version,
    })
}

/// An insert, an update (also one between two shapes) or a delete.
fn change() -> impl Strategy<Value = Change> {
    let shapes = (shape(), shape(), any::<bool>());
    let sides = shapes.prop_flat_map(|(one, other, altered)| {
        let old = if altered { other } else { Arc::clone(&one) };
        (side(old), side(one), 0..4u8)
    });
    (sides, any::<u64>(), any::<u32>(), any::<u64>()).prop_map(
        |((before, mut after, kind), collection, command, fired)| {
            if kind == 3 && before.image.shape == after.image.shape {
                // Unchanged but for one column: what the payload is made for.
                let first = after.image.values[0].clone();
                after.image.values.clone_from(&before.image.values);
                after.image.values[0] = first;
            }
            let before = (kind != 0).then_some(before);
            let after = (kind != 1).then_some(after);
            Change { collection, command, fired, before, after, rewrite: false }
        },
    )
}

/// What a log stores of changes, and the shapes beside them.
#[derive(Default)]
struct Log {
    payload: Vec<u8>,
    shapes: HashMap<ShapeId, Vec<u8>>,
}

impl Log {
    fn of(changes: &[Change]) -> Self {
        let mut log = Self::default();
        for change in changes {
            let id = &mut |shape: &Arc<Shape>| {
                let (id, bytes) = ShapeId::of(shape);
                log.shapes.insert(id, bytes);
                id
            };
            payload::encode(change, id, &mut log.payload);
        }
        log
    }

    fn read(&self) -> Result<Vec<Change>, Damaged> {
        payload::decode(&self.payload, &mut |id: ShapeId| {
            let shape = self.shapes.get(&id).ok_or(Damaged)?;
            id.read(shape).map(Arc::new)
        })
    }
}

proptest! {
    #[test]
    fn changes_come_back_from_the_log_as_they_went_in(
        changes in proptest::collection::vec(change(), 0..8),
    ) {
        prop_assert_eq!(Log::of(&changes).read().expect("undamaged"), changes);
    }

    #[test]
    fn changes_that_are_placed_are_the_same_and_stand_by_key(
        changes in proptest::collection::vec(change(), 0..8),
    ) {
        let log = Log::of(&changes);
        let shapes = &mut |id: ShapeId| id.read(log.shapes.get(&id).ok_or(Damaged)?).map(Arc::new);
        let mut placed = Vec::new();
        place::each(&log.payload, shapes, |place, bytes| {
            placed.push((place.to_vec(), bytes.into_owned()));
            Result::<_, Damaged>::Ok(())
        }).expect("undamaged");
        let split = changes.into_iter().flat_map(Change::split_moved_key).collect::<Vec<_>>();
        prop_assert_eq!(placed.len(), split.len());
        for ((place, bytes), change) in placed.iter().zip(split) {
            let collection = change.collection.to_be_bytes();
            prop_assert_eq!(&place[..8], &collection);
            let key = change.key().map(|key| key.sort_bytes());
            prop_assert!(key.is_none_or(|key| place[8..] == key || key.len() > 1000));
            let read = payload::decode(bytes, shapes);
            prop_assert_eq!(read.expect("undamaged"), vec![change]);
        }
    }

    #[test]
    fn a_run_is_in_order_and_cut_between_two_places(
        // Of few collections and without much in them, so that places come twice.
        changes in proptest::collection::vec((change(), 0..3_u64), 0..12),
        size in 1..600_usize,
    ) {
        let changes: Vec<Change> =
            changes.into_iter().map(|(change, collection)| Change { collection, ..change }).collect();
        let log = Log::of(&[changes.clone(), changes].concat());
        let shapes = &mut |id: ShapeId| id.read(log.shapes.get(&id).ok_or(Damaged)?).map(Arc::new);
        let mut placed = Vec::new();
        let mut keep = |place: &[u8], change: Cow<'_, [u8]>| {
            placed.push((place.to_vec(), change.into_owned()));
            Result::<_, Damaged>::Ok(())
        };
        place::each(&log.payload, shapes, &mut keep).expect("undamaged");
        placed.sort_by(|(one, _), (other, _)| one.cmp(other));

        let mut parts = Vec::new();
        let run = Run::of(&log.payload, shapes).expect("undamaged");
        run.parts(size, |place, part| {
            parts.push((place.to_vec(), part.to_vec()));
            Result::<_, Damaged>::Ok(())
        }).expect("undamaged");
        prop_assert!(parts.is_sorted_by(|(one, _), (other, _)| one < other), "no place in two");
        let all: Vec<u8> = placed.iter().flat_map(|(_, change)| change).copied().collect();
        let cut: Vec<u8> = parts.iter().flat_map(|(_, part)| part).copied().collect();
        prop_assert_eq!(cut, all);
        for (begin, part) in &parts {
            let mut places = Vec::new();
            let mut note = |place: &[u8], _: Cow<'_, [u8]>| {
                places.push(place.to_vec());
                Result::<_, Damaged>::Ok(())
            };
            place::each(part, shapes, &mut note).expect("undamaged");
            let first = places.first().or(placed.last().map(|(place, _)| place));
            prop_assert_eq!(first, Some(begin), "an empty one stands at the end");
        }
        prop_assert_eq!(parts.last().map(|(begin, _)| begin), placed.last().map(|(place, _)| place));
    }

    #[test]
    fn what_is_said_of_a_plain_change_is_what_decoding_it_shows(change in change(), more in change()) {
        let log = Log::of(std::slice::from_ref(&change));
        let shapes = &mut |id: ShapeId| id.read(log.shapes.get(&id).ok_or(Damaged)?).map(Arc::new);
        let only = look::only(&log.payload, shapes).expect("undamaged");
        let is_of_one_shape = payload::kind(&change) != payload::Kind::Both;
        let is_plain = is_of_one_shape && change.clone().split_moved_key().count() == 1;
        prop_assert_eq!(only.is_some(), is_plain);
        if let Some(only) = only {
            prop_assert_eq!(only.collection, change.collection);
            prop_assert_eq!((only.before, only.after), (change.before.is_some(), change.after.is_some()));
            let images = change.before.iter().chain(&change.after).map(|side| &side.image);
            prop_assert!(images.clone().all(|image| image.shape == only.shape.1));
            prop_assert_eq!(only.cost(), Cost::of(images));
        }
        let two = Log::of(&[change, more]);
        let shapes = &mut |id: ShapeId| id.read(two.shapes.get(&id).ok_or(Damaged)?).map(Arc::new);
        prop_assert_eq!(look::only(&two.payload, shapes).expect("undamaged"), None);
    }

    #[test]
    fn a_value_that_is_passed_is_as_long_as_one_that_is_read(
        value in value(),
        behind: Vec<u8>,
    ) {
        let mut bytes = Vec::new();
        Values(&mut bytes).value(&value);
        let own = bytes.len();
        bytes.extend(&behind);
        prop_assert_eq!(Reader(&bytes).raw_value().expect("undamaged"), &bytes[..own]);
        prop_assert_eq!(Reader(&bytes).pass_value().expect("undamaged"), value.bytes());
        let mut reader = Reader(&bytes);
        prop_assert_eq!(reader.value().expect("undamaged"), value);
        prop_assert_eq!(reader.0, behind);
    }

    #[test]
    fn no_bytes_make_reading_panic(payload: Vec<u8>, shape in shape()) {
        let _ = payload::decode(&payload, &mut |_| Result::<_, Damaged>::Ok(Arc::clone(&shape)));
        let _ = Reader(&payload).value();
        let _ = Reader(&payload).raw_value();
        let _ = ShapeId(0).read(&payload);
    }

    #[test]
    fn a_damaged_payload_never_makes_reading_panic(
        changes in proptest::collection::vec(change(), 1..4),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut log = Log::of(&changes);
        let at = at.index(log.payload.len());
        log.payload[at] = byte;
        let _ = log.read();
    }
}

#[test]
fn values_nested_without_end_are_damaged() {
    // Arrays of one item, which is an array of one item, ...
    let bytes = [15, 1].repeat(1_000_000);
    assert_eq!(Reader(&bytes).value(), Err(Damaged));
    assert_eq!(Reader(&bytes).raw_value(), Err(Damaged));
}

#[test]
fn a_shape_under_the_name_of_another_is_damaged() {
    let (id, bytes) = ShapeId::of(&Shape::default());
    assert_eq!(id.read(&bytes), Ok(Shape::default()));
    assert_eq!(ShapeId(id.0 + 1).read(&bytes), Err(Damaged));
}
