//! The head of a stamp: what is written is read, in few bytes, and nothing that is read panics.

use event_source_model::stamp::{Collections, Passed, Stamp};
use proptest::prelude::*;

fn stamp() -> impl Strategy<Value = Stamp> {
    let numbers = (any::<u64>(), any::<u64>(), 0..8usize, 0..i64::MAX);
    let moments = (1..i64::MAX, any::<i64>(), any::<i64>());
    let flags = (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u64>(), 0..4));
    (numbers, moments, flags).prop_map(
        |(
            (xid, history, segment, changes),
            (txn_ts, earlier, committed_at),
            (by_key, floor, collections),
        )| {
            let closed = earlier.min(txn_ts - 1);
            Stamp {
                txn_ts,
                xid,
                closed,
                history,
                segment,
                collections: collections.as_slice().into(),
                changes,
                by_key,
                floor,
                committed_at,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_stamp_comes_back_from_the_log_as_it_went_in(stamp in stamp()) {
        let stored = stamp.encode();
        let passed = Passed { mark: stamp.mark(), collections: stamp.collections.clone() };
        prop_assert_eq!(Passed::decode(stamp.txn_ts, &stored).expect("undamaged"), passed);
        prop_assert_eq!(Stamp::decode(stamp.txn_ts, &stored).expect("undamaged"), stamp);
    }

    #[test]
    fn no_bytes_make_reading_a_stamp_panic(txn_ts: i64, bytes: Vec<u8>) {
        let _ = Stamp::decode(txn_ts, &bytes);
    }
}

#[test]
fn the_stamp_of_a_small_transaction_takes_less_than_thirty_bytes() {
    let txn_ts = 1_763_800_000_000_000;
    let stamp = Stamp {
        txn_ts,
        xid: 3_000_000_000,
        closed: txn_ts - 9_999,
        history: u64::MAX,
        segment: 7,
        collections: Collections::One(100),
        changes: 100,
        by_key: false,
        floor: false,
        committed_at: txn_ts + 250,
    };
    assert!(stamp.encode().len() < 30, "{} bytes", stamp.encode().len());
    assert_eq!(stamp.encode()[..8], stamp.history.to_be_bytes());
}
