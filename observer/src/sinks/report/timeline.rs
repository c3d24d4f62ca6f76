//! The run over time, before it is drawn.

use crate::core::verdict::{Hit, Verdict};

use super::about;

/// What happened when, in seconds since the start of the run. All instants are finite.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Timeline {
    /// Where it begins; before 0 where something did.
    pub(super) start_s: f64,
    /// Where it ends; later than it begins.
    pub(super) end_s: f64,
    /// The phases of the load.
    pub(super) phases: Vec<Span>,
    /// The onsets of the hits, in the order of the table.
    pub(super) onsets: Vec<Onset>,
    /// Load, failures and usage over time, where the run was watched step by step.
    pub(super) course: Option<Course>,
}

/// Measures over time, in equal steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Course {
    /// Where the first step begins.
    pub(super) start_s: f64,
    /// Length of a step.
    pub(super) step_s: f64,
    /// One per measure.
    pub(super) lanes: Vec<Lane>,
}

/// One measure over time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    /// What it is.
    pub(super) name: String,
    /// Of which kind.
    pub(super) measure: Measure,
    /// One per step; unknown is `None`.
    pub(super) values: Vec<Option<f64>>,
}

/// How values of a lane are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// A number, from 0 on.
    Number,
    /// A share of a limit, which is 1.
    Share,
}

impl Course {
    /// How many steps there are.
    pub(super) fn steps(&self) -> usize {
        self.lanes.iter().map(|lane| lane.values.len()).max().unwrap_or(0)
    }

    /// Where a step begins.
    pub(super) fn start_of(&self, step: usize) -> f64 {
        self.start_s + step as f64 * self.step_s
    }
}

/// A named interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    /// Its name, as it came.
    pub(super) name: String,
    /// Its beginning.
    pub(super) start_s: f64,
    /// Its end.
    pub(super) end_s: f64,
}

/// The onset of a hit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Onset {
    /// The number that the hit has in the table.
    pub(super) number: usize,
    /// What was hit.
    pub(super) fault_line: String,
    /// When.
    pub(super) at_s: f64,
    /// Not earlier than this.
    pub(super) lo_s: f64,
    /// Not later than this.
    pub(super) hi_s: f64,
}

impl Timeline {
    /// The timeline of a run; none where there is no time to draw, or nothing in it.
    pub(super) fn of(verdict: &Verdict, course: Option<Course>) -> Option<Self> {
        let (phases, onsets) = (spans(verdict), onsets(verdict));
        let length_s = about::length_of(&verdict.run);
        let course_end_s = course.as_ref().map(|it| it.start_of(it.steps()));
        let ends = phases
            .iter()
            .map(|it| it.end_s)
            .chain(onsets.iter().map(|it| it.at_s))
            .chain(length_s)
            .chain(course_end_s);
        let end_s = ends.fold(0.0, f64::max);
        let starts = phases.iter().map(|it| it.start_s).chain(course.iter().map(|it| it.start_s));
        let start_s = starts.fold(0.0, f64::min);
        let is_empty = end_s <= start_s || phases.is_empty() && onsets.is_empty();
        (!is_empty).then_some(Self { start_s, end_s, phases, onsets, course })
    }

    /// Where an instant lies: 0 at the beginning, 1 at the end.
    pub(super) fn share(&self, at_s: f64) -> f64 {
        ((at_s - self.start_s) / (self.end_s - self.start_s)).clamp(0.0, 1.0)
    }
}

/// The phases of a run, as far as they can be drawn.
pub(crate) fn spans(verdict: &Verdict) -> Vec<Span> {
    verdict.phases.iter().filter_map(|it| span(&it.name, it.start_s, it.end_s)).collect()
}

/// Its onsets, as far as they can be drawn.
pub(crate) fn onsets(verdict: &Verdict) -> Vec<Onset> {
    (1..).zip(&verdict.hits).filter_map(|(number, hit)| onset(number, hit)).collect()
}

fn span(name: &str, start_s: f64, end_s: f64) -> Option<Span> {
    (start_s.is_finite() && end_s.is_finite()).then(|| Span { name: name.to_owned(), start_s, end_s })
}

fn onset(number: usize, hit: &Hit) -> Option<Onset> {
    let Hit { fault_line, onset_s, onset_lo_s, onset_hi_s, .. } = hit;
    let all_finite = [onset_s, onset_lo_s, onset_hi_s].iter().all(|it| it.is_finite());
    all_finite.then(|| Onset {
        number,
        fault_line: fault_line.clone(),
        at_s: *onset_s,
        lo_s: *onset_lo_s,
        hi_s: *onset_hi_s,
    })
}
