//! Where the marks of an axis lie, and what they are called.

/// Distances between two marks of time that people count in, in seconds.
pub(super) const STEPS_S: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0,
    300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0,
];

/// As many marks are legible.
pub(super) const MARKS: f64 = 10.0;

/// The marks between two instants, and their names.
pub(super) fn of_time(from_s: f64, to_s: f64) -> Vec<(f64, String)> {
    let wanted = (to_s - from_s) / MARKS;
    if !(wanted.is_finite() && wanted > 0.0) {
        return Vec::new();
    }
    let step = STEPS_S.iter().copied().find(|step| *step >= wanted).unwrap_or(wanted);
    let (first, last) = ((from_s / step).ceil() as i64, (to_s / step).floor() as i64);
    (first..=last).map(|number| (number as f64 * step, name(number as f64 * step, step))).collect()
}

/// `0.2 s`, `12 s`, `4:05`, `1:04:05`.
fn name(at_s: f64, step: f64) -> String {
    let sign = if at_s < 0.0 { "-" } else { "" };
    let size = at_s.abs();
    if step < 1.0 {
        let digits = if step >= 0.1 {
            1
        } else if step >= 0.01 {
            2
        } else {
            3
        };
        return format!("{sign}{size:.digits$} s");
    }
    let whole = size.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{sign}{seconds} s"),
        (0, minutes, seconds) => format!("{sign}{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{sign}{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// The number at or above a value at which an axis ends: 1, 2 or 5 with zeros.
pub(super) fn top(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    let unit = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .map(|digit| digit * unit)
        .into_iter()
        .find(|top| *top >= value)
        .unwrap_or(10.0 * unit)
}

#[cfg(test)]
mod tests {
    use super::{of_time, top};

    #[test]
    fn marks_lie_where_people_count() {
        let names = |from, to| of_time(from, to).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(names(-2.0, 9.0), ["-2 s", "0 s", "2 s", "4 s", "6 s", "8 s"]);
        assert_eq!(
            names(0.0, 0.4),
            ["0.00 s", "0.05 s", "0.10 s", "0.15 s", "0.20 s", "0.25 s", "0.30 s", "0.35 s", "0.40 s"]
        );
        assert_eq!(names(0.0, 200.0), ["0 s", "30 s", "1:00", "1:30", "2:00", "2:30", "3:00"]);
        assert_eq!(
            names(3500.0, 7300.0),
            ["1:00:00", "1:10:00", "1:20:00", "1:30:00", "1:40:00", "1:50:00", "2:00:00"]
        );
        assert!(names(1.0, 1.0).is_empty() && names(0.0, f64::NAN).is_empty());
        assert!(of_time(0.0, 1e9).len() <= 11);
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert_eq!([0.0, 0.7, 1.0, 17.0, 240.0, 3412.0].map(top), [1.0, 1.0, 1.0, 20.0, 250.0, 5000.0]);
    }
}
