//! The payload of the log: what is written is read, and nothing that is read panics.

mod support;

use std::sync::Arc;

use event_source_model::change::{Change, RowVersion, Side, decode, encode};
use event_source_model::image::{Image, Shape};
use proptest::prelude::*;
use support::{shape, values};

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

proptest! {
    #[test]
    fn changes_come_back_from_the_log_as_they_went_in(
        changes in proptest::collection::vec(change(), 0..8),
    ) {
        prop_assert_eq!(decode(&encode(&changes)).expect("undamaged"), changes);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_damaged_payload_never_makes_reading_panic(
        changes in proptest::collection::vec(change(), 1..4),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut payload = encode(&changes);
        let at = at.index(payload.len());
        payload[at] = byte;
        let _ = decode(&payload);
    }
}
