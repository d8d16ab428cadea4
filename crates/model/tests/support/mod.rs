//! Random values and shapes.

use std::sync::Arc;

use event_source_model::image::{Column, Shape};
use event_source_model::value::Value;
use proptest::prelude::*;

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|n| Value::Int(i64::from(n))),
        any::<i64>().prop_map(Value::BigInt),
        any::<u32>().prop_map(|bits| Value::Float4(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Value::Float8(f64::from_bits(bits))),
        "-?[0-9]{1,30}(\\.[0-9]{1,10})?".prop_map(Value::Numeric),
        any::<String>().prop_map(Value::Text),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any::<i32>().prop_map(Value::Date),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i64>().prop_map(Value::Timestamptz),
        Just(Value::Json("{\"a\":[1]}".to_owned())),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((any::<String>(), inner), 0..4).prop_map(Value::Object),
        ]
    })
}

pub(crate) fn values(columns: usize) -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(value(), columns)
}

/// One to five columns, the first of which is the key in half of them.
pub(crate) fn shape() -> impl Strategy<Value = Arc<Shape>> {
    (1..6i16, any::<bool>()).prop_map(|(columns, keyed)| {
        let column = |attnum: i16| Column { attnum, name: format!("c{attnum}") };
        let key = if keyed { vec![0] } else { Vec::new() };
        Arc::new(Shape { columns: (1..=columns).map(column).collect(), key })
    })
}
