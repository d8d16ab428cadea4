//! The text of dates and instants, ISO 8601, the same on every wire and in every session.
//!
//! PostgreSQL counts from 2000-01-01 and knows years before Christ and two infinities; chrono-like
//! libraries know neither, so the few lines of calendar arithmetic are ours.

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * MICROS_PER_DAY;

/// `2024-03-14`, `infinity`, `-infinity`, `0044-03-15 BC`. `days` counts from 2000-01-01.
pub fn date(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        _ => {
            let (text, bc) = civil(i64::from(days));
            with_era(text, bc)
        }
    }
}

/// `2024-03-14T22:50:55.93`, no zone. `micros` counts from 2000-01-01.
pub fn timestamp(micros: i64) -> String {
    instant(micros, "")
}

/// `2024-03-14T22:50:55.93Z`. `micros` counts from 2000-01-01 UTC.
pub fn timestamptz(micros: i64) -> String {
    instant(micros, "Z")
}

/// `2024-03-14T22:50:55.930Z` from microseconds since 1970: the form of Java's `Instant`, with 0,
/// 3 or 6 digits, which Fauna's drivers expect.
pub fn unix_instant(micros: i64) -> String {
    let mut out = String::new();
    write_unix_instant(&mut out, micros);
    out
}

/// Appends [`unix_instant`]: each event of Fauna's has one, so no piece of it is a text of its own.
pub fn write_unix_instant(out: &mut String, micros: i64) {
    let rest = micros.rem_euclid(MICROS_PER_DAY);
    let (year, month, day) = calendar(micros.div_euclid(MICROS_PER_DAY) - EPOCH_DAYS);
    let (shown, bc) = if year > 0 { (year, false) } else { (1 - year, true) };
    let seconds = rest / 1_000_000;
    if shown > 9999 {
        out.push_str(&shown.to_string());
    } else {
        digits(out, shown, 4);
    }
    for (before, number) in [
        ('-', month),
        ('-', day),
        ('T', seconds / 3600),
        (':', seconds / 60 % 60),
        (':', seconds % 60),
    ] {
        out.push(before);
        digits(out, number, 2);
    }
    let fraction = rest % 1_000_000;
    if fraction != 0 {
        out.push('.');
        if fraction % 1000 == 0 {
            digits(out, fraction / 1000, 3);
        } else {
            digits(out, fraction, 6);
        }
    }
    out.push('Z');
    if bc {
        out.push_str(" BC");
    }
}

/// Appends the last `count` digits, up to six, of a number that is not negative.
fn digits(out: &mut String, number: i64, count: u32) {
    for place in (0..count).rev() {
        out.push(char::from(b'0' + (number / 10_i64.pow(place) % 10) as u8));
    }
}

/// `2024-03-14T22:50:55.930Z`: always three digits, as JavaScript writes it; the rest is cut off. `micros`
/// counts from 2000-01-01 UTC.
pub fn timestamptz_millis(micros: i64) -> String {
    finite(micros, |day, rest| format!("{day}T{}.{:03}Z", clock(rest), rest % 1_000_000 / 1000))
}

fn instant(micros: i64, zone: &str) -> String {
    finite(micros, |day, rest| {
        let fraction = match rest % 1_000_000 {
            0 => String::new(),
            f => format!(".{f:06}").trim_end_matches('0').to_owned(),
        };
        format!("{day}T{}{fraction}{zone}", clock(rest))
    })
}

/// An instant by its day and the microseconds of that day.
fn finite(micros: i64, write: impl FnOnce(&str, i64) -> String) -> String {
    match micros {
        i64::MIN => return "-infinity".to_owned(),
        i64::MAX => return "infinity".to_owned(),
        _ => {}
    }
    let (day, bc) = civil(micros.div_euclid(MICROS_PER_DAY));
    with_era(write(&day, micros.rem_euclid(MICROS_PER_DAY)), bc)
}

fn clock(micros_of_day: i64) -> String {
    let seconds = micros_of_day / 1_000_000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn with_era(text: String, bc: bool) -> String {
    if bc { text + " BC" } else { text }
}

/// The date of a day counted from 2000-01-01, and whether it is BC.
fn civil(days_since_2000: i64) -> (String, bool) {
    let (year, month, day) = calendar(days_since_2000);
    let (shown, bc) = if year > 0 { (year, false) } else { (1 - year, true) };
    (format!("{shown:04}-{month:02}-{day:02}"), bc)
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
