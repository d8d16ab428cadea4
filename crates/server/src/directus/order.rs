//! The order of the items of one message: by values as PostgreSQL has them, nulls last, texts by code point.

use std::cmp::Ordering;

use event_source_model::value::Value;

/// Compares two lists of values; `descending` says so for each place.
pub(super) fn compare(a: &[Value], b: &[Value], descending: &[bool]) -> Ordering {
    let pairs = a.iter().zip(b).zip(descending);
    let mut orders = pairs.map(|((a, b), descending)| {
        let order = value(a, b);
        if *descending { order.reverse() } else { order }
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn value(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a) | Value::BigInt(a), Value::Int(b) | Value::BigInt(b))
        | (Value::Timestamp(a), Value::Timestamp(b))
        | (Value::Timestamptz(a), Value::Timestamptz(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Float4(a), Value::Float4(b)) => float(f64::from(*a), f64::from(*b)),
        (Value::Float8(a), Value::Float8(b)) => float(*a, *b),
        (Value::Numeric(a), Value::Numeric(b)) => numeric(a, b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (a, b) => a.text().cmp(&b.text()),
    }
}

/// NaN is equal to itself and above everything.
fn float(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn numeric(a: &str, b: &str) -> Ordering {
    let (a, b) = (Number::of(a), Number::of(b));
    match (a.is_negative, b.is_negative) {
        (false, false) => a.magnitude().cmp(&b.magnitude()),
        (true, true) => b.magnitude().cmp(&a.magnitude()),
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
    }
}

/// What `numeric_out` writes: digits without an exponent, or one of three words.
struct Number<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Number<'a> {
    fn of(text: &'a str) -> Self {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        Self { is_negative, whole: whole.trim_start_matches('0'), fraction }
    }

    /// Infinity is above all digits, and NaN above that.
    fn magnitude(&self) -> (u8, usize, &str, &str) {
        match self.whole {
            "NaN" => (2, 0, "", ""),
            "Infinity" => (1, 0, "", ""),
            digits => (0, digits.len(), digits, self.fraction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(values: &[Value]) {
        for pair in values.windows(2) {
            assert_eq!(value(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(value(&pair[1], &pair[0]), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn values_are_in_the_order_of_postgres() {
        let texts =
            ["-Infinity", "-12.5", "-2.50", "0", "0.09", "0.1", "2", "10", "Infinity", "NaN"];
        let mut numerics: Vec<Value> =
            texts.iter().map(|text| Value::Numeric((*text).to_owned())).collect();
        numerics.push(Value::Null);
        ordered(&numerics);
        ordered(&[Value::Int(-1), Value::Int(9), Value::Int(10), Value::Null]);
        ordered(&[Value::Float8(f64::NEG_INFINITY), Value::Float8(0.5), Value::Float8(f64::NAN)]);
        assert_eq!(numeric("1.50", "01.5"), Ordering::Equal);
    }

    #[test]
    fn descending_turns_nulls_round_as_postgres_does() {
        let (null, one) = ([Value::Null], [Value::Int(1)]);
        assert_eq!(compare(&null, &one, &[true]), Ordering::Less);
        assert_eq!(compare(&null, &one, &[false]), Ordering::Greater);
    }
}
