//! The run over time, before it is drawn.

use crate::core::verdict::{Hit, Verdict};

use super::about;

/// What happened when, in seconds since the start of the run. All instants are finite.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Timeline {
    /// Where it begins; before 0 where something did.
    pub(super) start_s: f64,
    /// Where it ends; later than it begins.
    pub(super) end_s: f64,
    /// The phases of the load.
    pub(super) phases: Vec<Span>,
    /// The onsets of the hits, in the order of the table.
    pub(super) onsets: Vec<Onset>,
}

/// A named interval.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// Its name, as it came.
    pub(super) name: String,
    /// Its beginning.
    pub(super) start_s: f64,
    /// Its end.
    pub(super) end_s: f64,
}

/// The onset of a hit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Onset {
    /// The number that the hit has in the table.
    pub(super) number: usize,
    /// What was hit.
    pub(super) fault_line: String,
    /// When.
    pub(super) at_s: f64,
}

impl Timeline {
    /// The timeline of a run; none where there is no time to draw, or nothing in it.
    pub(super) fn of(verdict: &Verdict) -> Option<Self> {
        let phases: Vec<Span> =
            verdict.phases.iter().filter_map(|it| span(&it.name, it.start_s, it.end_s)).collect();
        let onsets: Vec<Onset> =
            (1..).zip(&verdict.hits).filter_map(|(number, hit)| onset(number, hit)).collect();
        let length_s = about::length_of(&verdict.run);
        let ends = phases.iter().map(|it| it.end_s).chain(onsets.iter().map(|it| it.at_s)).chain(length_s);
        let end_s = ends.fold(0.0, f64::max);
        let start_s = phases.iter().map(|it| it.start_s).fold(0.0, f64::min);
        let is_empty = end_s <= start_s || phases.is_empty() && onsets.is_empty();
        (!is_empty).then_some(Self { start_s, end_s, phases, onsets })
    }

    /// Where an instant lies: 0 at the beginning, 1 at the end.
    pub(super) fn share(&self, at_s: f64) -> f64 {
        ((at_s - self.start_s) / (self.end_s - self.start_s)).clamp(0.0, 1.0)
    }
}

fn span(name: &str, start_s: f64, end_s: f64) -> Option<Span> {
    (start_s.is_finite() && end_s.is_finite()).then(|| Span { name: name.to_owned(), start_s, end_s })
}

fn onset(number: usize, hit: &Hit) -> Option<Onset> {
    let Hit { fault_line, onset_s, .. } = hit;
    onset_s.is_finite().then(|| Onset { number, fault_line: fault_line.clone(), at_s: *onset_s })
}
