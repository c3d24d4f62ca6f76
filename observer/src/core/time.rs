//! Instants as people and JSON write them: RFC 3339 in UTC, with milliseconds.
//!
//! Pure arithmetic on the nanoseconds of CLOCK_REALTIME, which the caller has read.

const NS_PER_MS: u64 = 1_000_000;
const MS_PER_DAY: u64 = 86_400_000;
/// Days in the 400 years after which the Gregorian calendar repeats.
const DAYS_PER_ERA: u64 = 146_097;
/// Days from 0000-03-01, the start of an era, to 1970-01-01.
const DAYS_BEFORE_EPOCH: u64 = 719_468;

/// `real_ns` as `2026-03-01T12:34:56.789Z`, cut (not rounded) to milliseconds.
///
/// ```
/// assert_eq!(observer::core::time::rfc3339(0), "1970-01-01T00:00:00.000Z");
/// ```
pub fn rfc3339(real_ns: u64) -> String {
    let ms = real_ns / NS_PER_MS;
    let (days, ms) = (ms / MS_PER_DAY, ms % MS_PER_DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// Reads back what [`rfc3339`] writes; `None` for anything else.
pub fn from_rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if bytes.len() != 24 || separators.iter().any(|&(at, byte)| bytes.get(at) != Some(&byte)) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, ms) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day).filter(|&days| civil(days) == (year, month, day))?;
    let ms = days * MS_PER_DAY + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
    ms.checked_mul(NS_PER_MS)
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last day of a year and the lengths of
/// the months before it follow one formula: 153 days in every five months.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE_EPOCH;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

/// Days since 1970-01-01; the inverse of [`civil`] for valid dates, `None` before 1970.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = ((153 * from_march + 2) / 5 + day).checked_sub(1)?;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * DAYS_PER_ERA + day_of_era).checked_sub(DAYS_BEFORE_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{from_rfc3339, rfc3339};

    #[test]
    fn known_instants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000_000), text);
            assert_eq!(from_rfc3339(text), Some(seconds * 1_000_000_000));
        }
        assert_eq!(rfc3339(1_709_164_800_123_999_999), "2024-02-29T00:00:00.123Z");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709Z");
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "2024-02-30T00:00:00.000Z",
            "2023-02-29T00:00:00.000Z",
            "2024-13-01T00:00:00.000Z",
            "2024-01-00T00:00:00.000Z",
            "2024-01-01T24:00:00.000Z",
            "2024-01-01 00:00:00.000Z",
            "2024-01-01T00:00:00Z",
            "+024-01-01T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59.999Z",
            "0000-01-01T00:00:00.000Z",
            "2024-01-01T00:00:00.0é",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_round_trips_to_the_millisecond(real_ns: u64) {
            prop_assert_eq!(from_rfc3339(&rfc3339(real_ns)), Some(real_ns / 1_000_000 * 1_000_000));
        }

        #[test]
        fn text_sorts_as_time_does(a: u64, b: u64) {
            prop_assert_eq!(rfc3339(a).cmp(&rfc3339(b)), (a / 1_000_000).cmp(&(b / 1_000_000)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = from_rfc3339(&text);
        }
    }
}
