//! The course of a value over time, in columns.

use crate::{
    core::{history::Step, verdict::Verdict},
    tui::model::picture::{GAP, Picture},
};

/// Eighths of a cell.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Time on so many columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// CLOCK_MONOTONIC of the left end.
    pub(super) from_ns: u64,
    /// CLOCK_MONOTONIC of the right end.
    pub(super) to_ns: u64,
    /// Columns.
    pub(super) width: usize,
}

impl Axis {
    /// Everything there is to show.
    pub(super) fn of(picture: &Picture, width: usize) -> Option<Self> {
        let (from_ns, to_ns) = picture.span_ns()?;
        (to_ns > from_ns && width > 0).then_some(Self { from_ns, to_ns, width })
    }

    /// The column of an instant.
    pub(super) fn column(&self, at_ns: u64) -> usize {
        let since = u128::from(at_ns.clamp(self.from_ns, self.to_ns) - self.from_ns);
        let column = since * self.width as u128 / u128::from(self.to_ns - self.from_ns);
        (column as usize).min(self.width.saturating_sub(1))
    }

    /// The column of an instant in a verdict's seconds.
    pub(super) fn column_s(&self, verdict: &Verdict, at_s: f64) -> usize {
        let at_ns = verdict.run.clock.mono_ns as f64 + at_s * 1e9;
        self.column(at_ns.max(0.0) as u64)
    }

    /// The highest value in each column; `None` where none is known.
    pub(super) fn highest(
        &self,
        picture: &Picture,
        value: impl Fn(&Step) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let mut columns: Vec<Option<f64>> = vec![None; self.width];
        let mut known: Option<(u64, f64)> = None;
        let step_ns = picture.history.step_ns();
        for (at_ns, step) in picture.history.timed() {
            let value = value(step).filter(|value| value.is_finite());
            known = value.map(|value| (at_ns, value)).or(known);
            // Scenes come about as often as steps: one without a scene is not a gap.
            let Some((_, value)) = known.filter(|(then_ns, _)| at_ns <= then_ns + GAP as u64 * step_ns)
            else {
                continue;
            };
            if at_ns + step_ns < self.from_ns || at_ns > self.to_ns {
                continue;
            }
            let (from, to) = (self.column(at_ns), self.column(at_ns + step_ns));
            for column in columns.iter_mut().take(to.max(from + 1)).skip(from) {
                *column = Some(column.map_or(value, |known| known.max(value)));
            }
        }
        columns
    }
}

/// Bars of a height, from the top row to the bottom one.
pub(super) fn bars(values: &[Option<f64>], top: f64, height: usize) -> Vec<String> {
    let eighths = |value: f64| {
        let share = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
        let full = (share * (height * 8) as f64).round() as usize;
        // Nothing but nothing looks like nothing.
        if value > 0.0 { full.max(1) } else { full }
    };
    (0..height)
        .rev()
        .map(|row| {
            let cell = |value: &Option<f64>| {
                value.map_or(' ', |value| EIGHTHS[eighths(value).saturating_sub(row * 8).min(8)])
            };
            values.iter().map(cell).collect()
        })
        .collect()
}

/// One row: how far a resource was used, and `×` where there were failures.
pub(super) fn sparkline(picture: &Picture, line: usize, width: usize) -> String {
    let Some(axis) = Axis::of(picture, width) else { return String::new() };
    let of_line = |step: &Step| step.lines.get(line).copied().unwrap_or_default();
    let usage = axis.highest(picture, |step| of_line(step).usage_ratio);
    let failures = axis.highest(picture, |step| Some(of_line(step).failures as f64));
    let cell = |(usage, failures): (&Option<f64>, &Option<f64>)| match (failures, usage) {
        (Some(failures), _) if *failures > 0.0 => '×',
        (_, Some(usage)) => EIGHTHS[((usage.clamp(0.0, 1.0) * 7.0).round() as usize) + 1],
        (Some(_), None) => '·',
        (None, None) => ' ',
    };
    usage.iter().zip(&failures).map(cell).collect()
}
