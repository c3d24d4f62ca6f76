//! Numbers as people read them.

/// `1234567` as `1,234,567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rate or an average: three digits that count, at least.
pub(crate) fn decimal(value: f64) -> String {
    let size = value.abs();
    let sign = if value < 0.0 { "-" } else { "" };
    if !value.is_finite() {
        "?".to_owned()
    } else if size >= 99.95 || size == 0.0 {
        // A float beyond u64 saturates, which is as good a number as any of that size.
        format!("{sign}{}", count(size.round() as u64))
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A share as a percentage. Nothing but 0 reads as 0, and nothing below the limit as 100.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if !percent.is_finite() {
        "?".to_owned()
    } else if percent == 0.0 {
        "0 %".to_owned()
    } else if percent < 0.1 {
        "< 0.1 %".to_owned()
    } else if percent < 9.95 || (99.5..100.0).contains(&percent) {
        // Cut, so that what is below a limit does not read as having reached it.
        format!("{:.1} %", (percent * 10.0).floor() / 10.0)
    } else {
        format!("{} %", decimal(percent.round()).trim_end_matches(".0"))
    }
}

/// A length of time: `340 ms`, `12.3 s`, `4 min 5 s`, `2 h 10 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let size = seconds.abs();
    let sign = if seconds < 0.0 { "-" } else { "" };
    if !seconds.is_finite() {
        "?".to_owned()
    } else if size == 0.0 {
        "0 s".to_owned()
    } else if size < 0.000_001 {
        "< 1 µs".to_owned()
    } else if size < 0.000_999_5 {
        format!("{sign}{:.0} µs", size * 1e6)
    } else if size < 0.009_95 {
        format!("{sign}{:.1} ms", size * 1e3)
    } else if size < 0.999_5 {
        format!("{sign}{:.0} ms", size * 1e3)
    } else if size < 59.95 {
        format!("{sign}{size:.1} s")
    } else if size < 3599.5 {
        let whole = size.round() as u64;
        format!("{sign}{} min {} s", whole / 60, whole % 60)
    } else {
        let minutes = (size / 60.0).round() as u64;
        format!("{sign}{} h {} min", count(minutes / 60), minutes % 60)
    }
}

/// An instant of the run to the millisecond, as the verdict's JSON counts: seconds since the start.
pub(crate) fn instant(seconds: f64) -> String {
    if seconds.is_finite() { format!("{seconds:.3} s") } else { "?".to_owned() }
}

/// An amount of memory.
pub(crate) fn bytes(bytes: u64) -> String {
    let size = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", size / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", size / 1e6),
        _ => format!("{:.1} GB", size / 1e9),
    }
}

/// `3 frames`, `1 frame`.
pub(crate) fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, decimal, duration, instant, percent};

    #[test]
    fn counts_are_grouped() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn rates_keep_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (3412.4, "3,412"),
            (-3412.4, "-3,412"),
            (f64::NAN, "?"),
            (f64::INFINITY, "?"),
        ] {
            assert_eq!(decimal(value), text);
        }
    }

    #[test]
    fn shares_never_round_to_a_limit() {
        for (value, text) in [
            (0.0, "0 %"),
            (0.000_01, "< 0.1 %"),
            (0.042, "4.2 %"),
            (0.61, "61 %"),
            (0.994, "99 %"),
            (0.9996, "99.9 %"),
            (1.0, "100 %"),
            (1.008, "101 %"),
            (12.0, "1,200 %"),
        ] {
            assert_eq!(percent(value), text);
        }
    }

    #[test]
    fn durations_pick_their_unit() {
        for (value, text) in [
            (0.0, "0 s"),
            (0.000_000_4, "< 1 µs"),
            (0.000_34, "340 µs"),
            (0.0012, "1.2 ms"),
            (0.34, "340 ms"),
            (0.9999, "1.0 s"),
            (12.34, "12.3 s"),
            (59.96, "1 min 0 s"),
            (245.0, "4 min 5 s"),
            (7_800.0, "2 h 10 min"),
            (-1.5, "-1.5 s"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(duration(value), text);
        }
        assert_eq!(instant(4.2134), "4.213 s");
        assert_eq!(bytes(18_200_000), "18.2 MB");
    }
}
