//! The rows of one run of the lab: those of a bench count once the lab says that it was measured to its end.

use super::row::Row;
use crate::progress::step;

/// What the lab begins the line with that ends a bench.
const WHOLE: &str = "measured ";
/// And the one of a bench that failed.
const FAILED: &str = "FAIL ";

/// What was measured so far.
#[derive(Debug, Default)]
pub struct Measured {
    rows: Vec<Row>,
    /// Of the bench that goes on.
    pending: Vec<Row>,
}

impl Measured {
    /// Takes a line of the lab's output; what is no row is shown.
    pub fn take(&mut self, line: &str, told: impl FnOnce(Row) -> Row) {
        if let Some(row) = Row::parse(line) {
            self.pending.push(told(row));
        } else if line.starts_with(WHOLE) {
            self.rows.append(&mut self.pending);
        } else {
            if line.starts_with(FAILED) {
                self.pending.clear();
            }
            step(line);
        }
    }

    /// The rows of what was measured to its end.
    pub fn whole(self) -> Vec<Row> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_that_fails_or_does_not_end_leaves_no_rows_and_takes_none_of_the_others() {
        let row = |bench: &str| {
            format!(
                r#"row {{"bench": "{bench}", "what": "p99", "with": "observer", "unit": "ms", "value": 1.0}}"#
            )
        };
        let mut measured = Measured::default();
        let lines =
            [row("storm"), "measured storm".into(), row("loops"), "FAIL loops: why".into(), row("ticks")];
        lines.iter().for_each(|line| measured.take(line, |row| row));
        let whole: Vec<String> = measured.whole().into_iter().map(|row| row.bench).collect();
        assert_eq!(whole, ["storm"]);
    }
}
