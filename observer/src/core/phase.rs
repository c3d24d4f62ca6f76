//! Load levels -> phases.
//!
//! The user's own marks win; else the load's course is cut into straight pieces, which are named by
//! slope and level: `idle, ramp_up, plateau, spike, ramp_down`. What follows the command is `recovery`.

mod course;
mod cut;
mod fit;
mod name;
mod outline;

use self::course::Course;
use super::load::{BIN_NS, Level};

/// A phase on CLOCK_MONOTONIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Beginning.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
}

/// What is to be cut into phases, on CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The run began.
    pub start_ns: u64,
    /// What was seen ends.
    pub end_ns: u64,
    /// The command ended, where it has.
    pub load_end_ns: Option<u64>,
}

/// Steps that a course has at most: what a phase costs to find stays bounded however long the run.
const MAX_STEPS: u64 = 20_000;
/// A phase is at least this share of the run, within the two lengths below.
const SHORTEST_SHARE: f64 = 0.05;
/// Shortest phase of a very short run.
const SHORTEST_S: f64 = 0.5;
/// What lasts this long is a phase however long the run.
const LONG_ENOUGH_S: f64 = 1.5;

impl Window {
    /// Length of the steps that the course is to be given in.
    pub fn step_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns).div_ceil(MAX_STEPS * BIN_NS).max(1) * BIN_NS
    }

    fn load_end_ns(&self) -> u64 {
        self.load_end_ns.map_or(self.end_ns, |end_ns| end_ns.clamp(self.start_ns, self.end_ns))
    }
}

/// Names the course of the load; the phases follow each other without a gap, from end to end of the
/// window. The levels are in steps of [`Window::step_ns`].
pub fn segment(levels: &[Level], window: &Window) -> Vec<Span> {
    let load_end_ns = window.load_end_ns();
    let mut spans = Vec::new();
    if window.start_ns < load_end_ns {
        spans = of_load(whole_steps(levels, window), window);
        if let Some(last) = spans.last_mut() {
            last.end_ns = load_end_ns;
        }
    }
    if load_end_ns < window.end_ns {
        spans.push(Span { name: "recovery".to_owned(), start_ns: load_end_ns, end_ns: window.end_ns });
    }
    spans
}

/// The steps that lie within the load: one in which it begins or ends tells half of its rate.
fn whole_steps<'a>(levels: &'a [Level], window: &Window) -> &'a [Level] {
    let from = levels.partition_point(|level| level.start_ns < window.start_ns);
    let to = levels.partition_point(|level| level.start_ns + window.step_ns() <= window.load_end_ns());
    if from < to {
        return &levels[from..to];
    }
    // A command that is over within a step or two.
    let begun = levels.partition_point(|level| level.start_ns < window.load_end_ns());
    &levels[begun.saturating_sub(1)..begun]
}

fn of_load(levels: &[Level], window: &Window) -> Vec<Span> {
    let step_s = window.step_ns() as f64 / 1e9;
    let length_s = levels.len() as f64 * step_s;
    let shortest_s = (length_s * SHORTEST_SHARE).clamp(SHORTEST_S, LONG_ENOUGH_S);
    let shortest = (shortest_s / step_s).ceil() as usize;
    let course = Course::of(levels, step_s);
    let phases = name::phases(&course, &cut::pieces(&course, shortest), shortest);
    let start_ns = |step: usize| if step == 0 { window.start_ns } else { levels[step].start_ns };
    let ends = phases.iter().skip(1).map(|phase| start_ns(phase.piece.start)).chain([window.end_ns]);
    phases
        .iter()
        .zip(ends)
        .map(|(phase, end_ns)| Span {
            name: phase.name.to_owned(),
            start_ns: start_ns(phase.piece.start),
            end_ns,
        })
        .collect()
}

#[cfg(test)]
mod tests;
