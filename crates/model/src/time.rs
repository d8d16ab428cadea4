//! The text of dates and instants, ISO 8601, the same on every wire and in every session.
//!
//! PostgreSQL counts from 2000-01-01 and knows years before Christ and two infinities; chrono-like
//! libraries know neither, so the few lines of calendar arithmetic are ours.

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * MICROS_PER_DAY;

/// What the longest of these texts needs, but for years far away.
const ROOM: usize = 32;

/// `2024-03-14`, `infinity`, `-infinity`, `0044-03-15 BC`. `days` counts from 2000-01-01.
pub fn date(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        _ => {
            let mut out = String::with_capacity(ROOM);
            let era = put_day(&mut out, i64::from(days));
            out + era
        }
    }
}

/// `2024-03-14T22:50:55.93`, no zone. `micros` counts from 2000-01-01.
pub fn timestamp(micros: i64) -> String {
    finite(micros, |out, fraction| put_shortest(out, fraction, ""))
}

/// `2024-03-14T22:50:55.93Z`. `micros` counts from 2000-01-01 UTC.
pub fn timestamptz(micros: i64) -> String {
    finite(micros, |out, fraction| put_shortest(out, fraction, "Z"))
}

/// `2024-03-14T22:50:55.930Z`: always three digits, as JavaScript writes it; the rest is cut off. `micros`
/// counts from 2000-01-01 UTC.
pub fn timestamptz_millis(micros: i64) -> String {
    finite(micros, |out, fraction| {
        out.push('.');
        three(out, fraction / 1000);
        out.push('Z');
    })
}

/// `2024-03-14T22:50:55.930Z` from microseconds since 1970: the form of Java's `Instant`, with 0,
/// 3 or 6 digits, which Fauna's drivers expect.
pub fn unix_instant(micros: i64) -> String {
    let mut out = String::with_capacity(ROOM);
    write_unix_instant(&mut out, micros);
    out
}

/// Appends [`unix_instant`]: each event of Fauna's has one, so no piece of it is a text of its own.
pub fn write_unix_instant(out: &mut String, micros: i64) {
    let era = put_instant(out, micros.div_euclid(MICROS_PER_DAY) - EPOCH_DAYS, micros);
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        out.push('.');
        three(out, fraction / 1000);
        if fraction % 1000 != 0 {
            three(out, fraction % 1000);
        }
    }
    out.push('Z');
    out.push_str(era);
}

/// An instant, and behind its seconds what `rest` makes of the microseconds.
fn finite(micros: i64, rest: impl FnOnce(&mut String, i64)) -> String {
    match micros {
        i64::MIN => return "-infinity".to_owned(),
        i64::MAX => return "infinity".to_owned(),
        _ => {}
    }
    let mut out = String::with_capacity(ROOM);
    let era = put_instant(&mut out, micros.div_euclid(MICROS_PER_DAY), micros);
    rest(&mut out, micros.rem_euclid(1_000_000));
    out + era
}

/// A fraction of a second without the zeros at its end.
fn put_shortest(out: &mut String, fraction: i64, zone: &str) {
    if fraction != 0 {
        out.push('.');
        three(out, fraction / 1000);
        three(out, fraction % 1000);
        out.truncate(out.trim_end_matches('0').len());
    }
    out.push_str(zone);
}

/// Day and time of day down to seconds; gives what is to stand behind all.
fn put_instant(out: &mut String, days_since_2000: i64, micros: i64) -> &'static str {
    let era = put_day(out, days_since_2000);
    let seconds = micros.rem_euclid(MICROS_PER_DAY) / 1_000_000;
    for (before, number) in [('T', seconds / 3600), (':', seconds / 60 % 60), (':', seconds % 60)] {
        out.push(before);
        two(out, number);
    }
    era
}

/// The date of a day counted from 2000-01-01; gives what is to stand behind all.
fn put_day(out: &mut String, days_since_2000: i64) -> &'static str {
    let (year, month, day) = calendar(days_since_2000);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    if shown > 9999 {
        out.push_str(&shown.to_string());
    } else {
        two(out, shown / 100);
        two(out, shown % 100);
    }
    out.push('-');
    two(out, month);
    out.push('-');
    two(out, day);
    era
}

/// Two digits of a number below a hundred: formatting what a row has of times in the general way takes as
/// long as all else of the row.
fn two(out: &mut String, number: i64) {
    out.push(digit(number / 10));
    out.push(digit(number));
}

fn three(out: &mut String, number: i64) {
    out.push(digit(number / 100));
    two(out, number % 100);
}

/// The last digit of a number that is not negative.
fn digit(number: i64) -> char {
    char::from(b'0' + (number % 10) as u8)
}

/// The proleptic Gregorian year, month and day of a day counted from 2000-01-01. The year before 1 is 0.
///
/// Howard Hinnant's days-to-civil: eras of 400 years that begin on 1 March.
fn calendar(days_since_2000: i64) -> (i64, i64, i64) {
    let z = days_since_2000 + EPOCH_DAYS + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_the_epochs_are_right() {
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(-10_957), "1970-01-01");
        assert_eq!(date(59), "2000-02-29");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        assert_eq!(date(i32::MAX), "infinity");
    }

    #[test]
    fn fractions_lose_only_trailing_zeros() {
        assert_eq!(timestamptz(0), "2000-01-01T00:00:00Z");
        assert_eq!(timestamp(1_500_000), "2000-01-01T00:00:01.5");
        assert_eq!(timestamptz(-1), "1999-12-31T23:59:59.999999Z");
        assert_eq!(timestamptz(i64::MIN), "-infinity");
    }

    #[test]
    fn milliseconds_always_have_three_digits() {
        assert_eq!(timestamptz_millis(0), "2000-01-01T00:00:00.000Z");
        assert_eq!(timestamptz_millis(1_999_999), "2000-01-01T00:00:01.999Z");
        assert_eq!(timestamptz_millis(-1), "1999-12-31T23:59:59.999Z");
        assert_eq!(timestamptz_millis(i64::MAX), "infinity");
    }

    #[test]
    fn fauna_instants_have_zero_three_or_six_digits() {
        assert_eq!(unix_instant(1_710_456_655_930_000), "2024-03-14T22:50:55.930Z");
        assert_eq!(unix_instant(1_710_456_655_000_000), "2024-03-14T22:50:55Z");
        assert_eq!(unix_instant(1_710_456_655_000_001), "2024-03-14T22:50:55.000001Z");
        assert_eq!(unix_instant(253_402_300_800_000_000), "10000-01-01T00:00:00Z");
        assert_eq!(unix_instant(-62_135_596_800_000_001), "0001-12-31T23:59:59.999999Z BC");
    }
}
