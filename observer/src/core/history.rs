//! The course of a run, as a person looks at it: load, failures and headroom over time, in a bounded number
//! of equal steps however long it lasts.

use super::{lines::LINES, snapshot::Snapshot};

/// Steps that a history has at most. When they are full, two become one.
pub const STEPS: usize = 600;
/// Length of a step at first.
const FIRST_STEP_NS: u64 = 250_000_000;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Highest rate of new connections, per second.
    pub connections_per_s: Option<f64>,
    /// Most connections that were open at the same time.
    pub concurrency: Option<f64>,
    /// One per fault line, in the order of [`LINES`].
    pub lines: Vec<LineStep>,
}

/// A fault line in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LineStep {
    /// Failures in it.
    pub failures: u64,
    /// Highest share of the limit that the resource closest to its own was used to.
    pub usage_ratio: Option<f64>,
}

/// The course of a run.
#[derive(Clone, Debug)]
pub struct History {
    start_ns: Option<u64>,
    step_ns: u64,
    steps: Vec<Step>,
    /// Failures so far, per line: snapshots tell totals.
    failures: Vec<u64>,
}

impl Default for History {
    fn default() -> Self {
        Self { start_ns: None, step_ns: FIRST_STEP_NS, steps: Vec::new(), failures: vec![0; LINES.len()] }
    }
}

impl History {
    /// Enters how things stand. Snapshots come in the order of time.
    pub fn enter(&mut self, snapshot: &Snapshot) {
        let start_ns = *self.start_ns.get_or_insert(snapshot.at_ns);
        let since_ns = snapshot.at_ns.saturating_sub(start_ns);
        while since_ns / self.step_ns >= STEPS as u64 {
            self.halve();
        }
        let at = (since_ns / self.step_ns) as usize;
        // Steps in which nobody looked are as unknown as they were.
        while self.steps.len() <= at {
            self.steps.push(Step::default());
        }
        let step = self.step_of(snapshot);
        self.steps[at].join(&step);
    }

    /// CLOCK_MONOTONIC at which the first step begins.
    pub fn start_ns(&self) -> Option<u64> {
        self.start_ns
    }

    /// Length of a step.
    pub fn step_ns(&self) -> u64 {
        self.step_ns
    }

    /// The steps, oldest first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps with the instants at which they begin, on CLOCK_MONOTONIC.
    pub fn timed(&self) -> impl Iterator<Item = (u64, &Step)> {
        let start_ns = self.start_ns.unwrap_or(0);
        self.steps.iter().enumerate().map(move |(at, step)| (start_ns + at as u64 * self.step_ns, step))
    }

    fn step_of(&mut self, snapshot: &Snapshot) -> Step {
        let lines = snapshot.lines.iter().zip(&mut self.failures).map(|(line, before)| {
            // It falls when somebody turns out to be a bystander.
            let failures = line.failures.saturating_sub(*before);
            *before = line.failures;
            LineStep { failures, usage_ratio: line.closest.as_ref().map(|usage| usage.ratio) }
        });
        Step {
            lines: lines.collect(),
            connections_per_s: snapshot.load.connections_per_s,
            concurrency: snapshot.load.concurrency,
        }
    }

    fn halve(&mut self) {
        self.step_ns *= 2;
        let pairs = self.steps.chunks(2).map(|pair| {
            let mut step = pair[0].clone();
            pair.iter().skip(1).for_each(|other| step.join(other));
            step
        });
        self.steps = pairs.collect();
    }
}

impl Default for Step {
    fn default() -> Self {
        Self { connections_per_s: None, concurrency: None, lines: vec![LineStep::default(); LINES.len()] }
    }
}

impl Step {
    fn join(&mut self, other: &Self) {
        self.connections_per_s = highest(self.connections_per_s, other.connections_per_s);
        self.concurrency = highest(self.concurrency, other.concurrency);
        for (line, other) in self.lines.iter_mut().zip(&other.lines) {
            line.failures += other.failures;
            line.usage_ratio = highest(line.usage_ratio, other.usage_ratio);
        }
    }
}

fn highest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    [a, b].into_iter().flatten().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::{
        snapshot::{LineNow, State},
        verdict::Load,
    };

    fn snapshot(at_ns: u64, failures: u64, connections_per_s: f64) -> Snapshot {
        let line = LineNow { state: State::Clear, failures, strain: 0, closest: None };
        Snapshot {
            at_ns,
            real_ns: at_ns,
            start_ns: None,
            end_ns: None,
            load: Load { connections_per_s: Some(connections_per_s), ..Load::default() },
            lines: vec![line; LINES.len()],
            in_use: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn however_long_nothing_is_lost(gaps_ms in prop::collection::vec((1_u64..20_000, 0_u64..50), 1..1_500)) {
            let mut history = History::default();
            let (mut at_ns, mut failures) = (1_000_000_000, 0);
            let mut peak = 0.0_f64;
            for (gap_ms, more) in gaps_ms {
                (at_ns, failures) = (at_ns + gap_ms * 1_000_000, failures + more);
                peak = peak.max(more as f64);
                history.enter(&snapshot(at_ns, failures, more as f64));
            }
            prop_assert!(history.steps().len() <= STEPS);
            prop_assert_eq!(history.steps().iter().map(|step| step.lines[0].failures).sum::<u64>(), failures);
            let highest = history.steps().iter().filter_map(|step| step.connections_per_s).reduce(f64::max);
            prop_assert_eq!(highest, Some(peak));
            let end_ns = history.timed().last().map(|(from_ns, _)| from_ns + history.step_ns());
            prop_assert!(end_ns.is_some_and(|end_ns| at_ns < end_ns && at_ns + history.step_ns() >= end_ns));
        }
    }
}
