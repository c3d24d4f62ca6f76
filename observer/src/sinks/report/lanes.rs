//! The course of a run as lanes: the load, and of each fault line what failed and how close it came.

use super::{
    sentence,
    timeline::{Course, Lane, Measure},
};
use crate::core::{
    history::{History, LineStep, Step},
    lines::{FaultLine, LINES},
    verdict::Verdict,
};

/// A resource that nothing failed for has a lane when it came this close to its limit.
const CLOSE: f64 = 0.5;

/// The lanes; none where nobody looked.
pub(super) fn of(history: &History, verdict: &Verdict) -> Option<Course> {
    let since_ns = i128::from(history.start_ns()?) - i128::from(verdict.run.clock.mono_ns);
    let step_s = history.step_ns() as f64 / 1e9;
    let mut lanes = vec![
        load("connections in the last second", history, |step| step.connections_per_s),
        load("connections open", history, |step| step.concurrency),
    ];
    for (at, line) in LINES.iter().enumerate() {
        lanes.extend(of_line(*line, &course_of(history, at), step_s));
    }
    lanes.retain(|lane| lane.values.iter().any(Option::is_some));
    (!lanes.is_empty()).then_some(Course { start_s: since_ns as f64 / 1e9, step_s, lanes })
}

fn load(name: &str, history: &History, of: fn(&Step) -> Option<f64>) -> Lane {
    Lane { name: name.to_owned(), measure: Measure::Number, values: history.steps().iter().map(of).collect() }
}

/// A fault line, step by step.
fn course_of(history: &History, line: usize) -> Vec<LineStep> {
    history.steps().iter().map(|step| step.lines.get(line).copied().unwrap_or_default()).collect()
}

/// What failed, where anything did, and how full the resource was, where that is worth a look.
fn of_line(line: &dyn FaultLine, steps: &[LineStep], step_s: f64) -> Vec<Lane> {
    let has_failed = steps.iter().any(|step| step.failures > 0);
    let is_close = steps.iter().filter_map(|step| step.usage_ratio).any(|ratio| ratio >= CLOSE);
    let mut lanes = Vec::new();
    if has_failed {
        lanes.push(Lane {
            name: format!("{}: failures per second", line.id()),
            measure: Measure::Number,
            values: steps.iter().map(|step| Some(step.failures as f64 / step_s)).collect(),
        });
    }
    if let Some(resource) = line.resource().filter(|_| has_failed || is_close) {
        lanes.push(Lane {
            name: format!("{}: {} in use", line.id(), sentence::words(resource.name())),
            measure: Measure::Share,
            values: steps.iter().map(|step| step.usage_ratio).collect(),
        });
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::of_line;
    use crate::core::{history::LineStep, lines::by_id};

    fn lanes(id: &str, failures: u64, usage_ratio: Option<f64>) -> Vec<(String, Option<f64>)> {
        let step = LineStep { failures, usage_ratio };
        let lanes = by_id(id).map(|line| of_line(line, &[step], 0.25)).unwrap_or_default();
        lanes.into_iter().map(|lane| (lane.name, lane.values[0])).collect()
    }

    #[test]
    fn only_what_failed_or_came_close_has_a_lane() {
        assert!(lanes("fd_saturation", 0, Some(0.1)).is_empty());
        let close = ("fd_saturation: descriptors in use".to_owned(), Some(0.9));
        assert_eq!(lanes("fd_saturation", 0, Some(0.9)), std::slice::from_ref(&close));
        let failures = ("fd_saturation: failures per second".to_owned(), Some(20.0));
        assert_eq!(lanes("fd_saturation", 5, Some(0.9)), [failures, close]);
        assert_eq!(lanes("connection_refused", 1, None).len(), 1);
    }
}
