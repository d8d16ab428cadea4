//! Which number a text of digits is, for wires that tell integers from floats.

use crate::json::plain;

/// What a wire with 32-bit, 64-bit and floating numbers can do with a text of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Long,
    /// A double says exactly this number.
    Double,
    /// No kind of number keeps all its digits.
    Inexact,
}

/// Whether `numeric_out` gave digits rather than `NaN`, `Infinity` or `-Infinity`.
pub fn is_finite(numeric: &str) -> bool {
    numeric.ends_with(|c: char| c.is_ascii_digit())
}

/// The kind of a finite number, in the text form of `numeric` or of JSON.
pub fn kind(text: &str) -> Kind {
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
        && let Ok(n) = text.parse::<i64>()
    {
        return if i32::try_from(n).is_ok() { Kind::Int } else { Kind::Long };
    }
    match text.parse::<f64>() {
        Ok(f) if is_short(text) || (f.is_finite() && is_said_by(text, f)) => Kind::Double,
        _ => Kind::Inexact,
    }
}

/// Whether a number has so few digits, and so little of an exponent, that a double keeps any such: most have.
fn is_short(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits <= f64::DIGITS as usize && text.bytes().all(|b| b.is_ascii_digit() || b"-.".contains(&b))
}

/// Whether the shortest text of the double is that number.
fn is_said_by(text: &str, f: f64) -> bool {
    Decimal::of(text) == Decimal::of(&format!("{f:e}"))
}

/// Appends a finite float in its shortest exact form. JSON has no other kind.
pub fn float<F: Into<f64> + Copy + std::fmt::Display + std::fmt::LowerExp>(out: &mut String, f: F) {
    let size = f.into().abs();
    // Between these PostgreSQL, too, writes no exponent.
    if size == 0.0 || (1e-5..1e15).contains(&size) {
        plain(out, f);
    } else {
        plain(out, format_args!("{f:e}"));
    }
}

/// Sign, digits without zeros at the ends, and the power of ten of the first digit.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `None` when the text is no decimal number.
    fn of(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let leading = (all.len() - significant.len()) as i64;
        let digits = significant.trim_end_matches('0').to_owned();
        Some(Self {
            negative,
            digits,
            exponent: exponent.checked_add(whole.len() as i64 - leading)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_a_double_only_when_no_digit_is_lost() {
        assert_eq!(kind("1.50"), Kind::Double);
        assert_eq!(kind("0.1"), Kind::Double);
        assert_eq!(kind("0.00"), Kind::Double);
        assert_eq!(kind("-1e5"), Kind::Double);
        assert_eq!(kind("0.1000000000000000055511151231257827"), Kind::Inexact);
        assert_eq!(kind("12345678901234567890"), Kind::Inexact);
        assert_eq!(kind("1e400"), Kind::Inexact);
    }

    proptest! {
        #[test]
        fn a_number_of_few_digits_is_a_double(text in "-?[0-9]{1,8}\\.[0-9]{1,8}") {
            let f: f64 = text.parse().expect("a number");
            if is_short(&text) {
                prop_assert!(is_said_by(&text, f), "{}", text);
            }
            prop_assert_eq!(kind(&text) == Kind::Double, is_said_by(&text, f));
        }
    }

    #[test]
    fn whole_numbers_are_int_or_long_by_their_size() {
        assert_eq!(kind("2147483647"), Kind::Int);
        assert_eq!(kind("-2147483649"), Kind::Long);
        assert_eq!(kind("9223372036854775807"), Kind::Long);
    }

    #[test]
    fn floats_are_written_as_postgres_would() {
        let written = |f: f64| {
            let mut out = String::new();
            float(&mut out, f);
            out
        };
        assert_eq!(written(1.0), "1");
        assert_eq!(written(1e300), "1e300");
        assert_eq!(written(-2.5e-7), "-2.5e-7");
        assert_eq!(written(0.001), "0.001");
    }
}
