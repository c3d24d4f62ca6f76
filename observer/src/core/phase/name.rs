//! Straight pieces of a load -> phases with names.

use super::{
    course::Course,
    outline::{Piece, is_steep},
};

/// Share of the peak below which the load is idle.
const IDLE_RATIO: f64 = 0.02;
/// Connections per second below which it is idle, unless they are a tenth of the peak.
const IDLE_PER_S: f64 = 1.0;
/// Share of the range of open connections from which on a load without arrivals is stalled, not idle.
const STALLED_RATIO: f64 = 0.5;
/// Difference between two plateaus, as a share of the higher, that keeps them apart.
const STEP_RATIO: f64 = 0.12;
/// The same as a share of the peak: what could not be seen on a chart of the run is not said.
const VISIBLE_RATIO: f64 = 0.03;
/// A spike is at least this much above what surrounds it.
const SPIKE_RATIO: f64 = 1.5;
/// How much of a spike's height may be left when it is over.
const SPIKE_REST: f64 = 0.25;
/// Longest spike; what lasts longer is a load of its own.
const SPIKE_LONGEST_S: f64 = 120.0;

/// A phase of the course.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Named {
    /// Its name.
    pub(super) name: &'static str,
    /// What it covers.
    pub(super) piece: Piece,
}

/// Names the pieces of a course and joins those that belong together.
pub(super) fn phases(course: &Course, pieces: &[Piece], shortest: usize) -> Vec<Named> {
    let long = |piece: &&Piece| piece.len() >= shortest || pieces.len() == 1;
    let peak = pieces.iter().filter(long).map(|piece| piece.top()).fold(0.0, f64::max);
    let namer = Namer { course, peak, shortest };
    let mut phases: Vec<Named> =
        pieces.iter().map(|piece| Named { name: namer.name(piece), piece: *piece }).collect();
    namer.absorb_short(&mut phases);
    namer.join(&mut phases);
    namer.mark_spikes(&mut phases);
    phases
}

struct Namer<'a> {
    course: &'a Course,
    peak: f64,
    shortest: usize,
}

impl Namer<'_> {
    fn name(&self, piece: &Piece) -> &'static str {
        let is_visible = (piece.to - piece.from).abs() >= self.peak * VISIBLE_RATIO;
        if self.is_idle(piece) {
            "idle"
        } else if !is_steep(piece.from, piece.to) || !is_visible {
            "plateau"
        } else if piece.from < piece.to {
            "ramp_up"
        } else {
            "ramp_down"
        }
    }

    /// Few arrive, and nobody waits either: a service that has stalled keeps its clients.
    fn is_idle(&self, piece: &Piece) -> bool {
        let little = (self.course.unit * IDLE_PER_S).min(self.peak * 0.1).max(self.peak * IDLE_RATIO);
        if self.peak == 0.0 {
            return true;
        }
        piece.top() <= little && !self.is_stalled(piece)
    }

    fn is_stalled(&self, piece: &Piece) -> bool {
        let open = &self.course.open;
        let Some(here) = open.get(piece.start..piece.end) else { return false };
        let lowest = open.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = open.iter().copied().fold(0.0, f64::max);
        let mean = here.iter().sum::<f64>() / here.len().max(1) as f64;
        highest - lowest >= 1.0 && mean - lowest >= (highest - lowest) * STALLED_RATIO
    }

    /// What is too short to be a phase belongs to its neighbours: a slope between two plateaus to both,
    /// half each, anything else to the one whose level is nearer.
    fn absorb_short(&self, phases: &mut Vec<Named>) {
        while phases.len() > 1 {
            let length = |index: &usize| phases[*index].piece.len();
            let too_short = (0..phases.len()).filter(|index| length(index) < self.least(&phases[*index]));
            let Some(shortest) = too_short.min_by_key(length) else { break };
            let short = phases.remove(shortest).piece;
            let distance = |index: usize, level: fn(&Piece) -> f64| {
                phases.get(index).map_or(f64::INFINITY, |phase| (level(&phase.piece) - short.mean()).abs())
            };
            let before = shortest.checked_sub(1).map_or(f64::INFINITY, |index| distance(index, |p| p.to));
            let after = distance(shortest, |p| p.from);
            let between = before.max(after) < 1.5 * before.min(after);
            let cut = match (between, before < after) {
                (true, _) => usize::midpoint(short.start, short.end),
                (false, true) => short.end,
                (false, false) => short.start,
            };
            if let Some(index) = shortest.checked_sub(1) {
                phases[index].piece.end = cut;
            }
            if let Some(next) = phases.get_mut(shortest) {
                next.piece.start = cut;
            }
        }
    }

    /// How long a phase has to be. A slope has to be longer, since a step that falls between two reads of
    /// a counter looks like one, and so does a load tool that starts its clients or stops them.
    fn least(&self, phase: &Named) -> usize {
        let is_ramp = matches!(phase.name, "ramp_up" | "ramp_down");
        if is_ramp { self.shortest * 5 / 3 } else { self.shortest }
    }

    /// Makes one of neighbours that a reader of the chart would not tell apart, the most alike first.
    fn join(&self, phases: &mut Vec<Named>) {
        loop {
            let alike = |index: &usize| self.difference(&phases[*index - 1], &phases[*index]);
            let nearest = (1..phases.len()).min_by(|a, b| alike(a).total_cmp(&alike(b)));
            let Some(index) = nearest.filter(|index| alike(index) < 1.0) else { break };
            let next = phases.remove(index);
            let phase = &mut phases[index - 1];
            phase.piece = joined(phase, &next);
        }
    }

    /// How different two neighbours are; from 1 on they stay apart.
    fn difference(&self, a: &Named, b: &Named) -> f64 {
        let (high, low) = (a.piece.mean().max(b.piece.mean()), a.piece.mean().min(b.piece.mean()));
        match (a.name, b.name) {
            ("plateau", "plateau") => (high - low) / (high * STEP_RATIO).max(self.peak * VISIBLE_RATIO),
            (one, other) if one == other => 0.0,
            _ => f64::INFINITY,
        }
    }

    /// A short top over a base to which the load returns is a spike, slopes included.
    fn mark_spikes(&self, phases: &mut Vec<Named>) {
        let mut index = 0;
        while index < phases.len() {
            if let Some(after) = (index + 2..phases.len().min(index + 5))
                .find(|after| phases[index].name == "plateau" && self.is_spike(&phases[index..=*after]))
            {
                let (start, end) = (phases[index].piece.end, phases[after].piece.start);
                let top = phases[index + 1..after].iter().map(|top| top.piece.mean()).fold(0.0, f64::max);
                let piece = Piece { start, end, from: top, to: top };
                phases.splice(index + 1..after, [Named { name: "spike", piece }]);
            }
            index += 1;
        }
    }

    /// Whether what is between the first and the last of these is a spike.
    fn is_spike(&self, phases: &[Named]) -> bool {
        let [before, tops @ .., after] = phases else { return false };
        if after.name != "plateau" || tops.iter().any(|top| matches!(top.name, "idle" | "spike")) {
            return false;
        }
        let (base, rest) = (before.piece.mean(), after.piece.mean());
        let top = tops.iter().map(|top| top.piece.top()).fold(0.0, f64::max);
        let length: usize = tops.iter().map(|top| top.piece.len()).sum();
        let around = before.piece.len() + after.piece.len();
        length * 2 < around
            && length as f64 * self.course.step_s <= SPIKE_LONGEST_S
            && top >= SPIKE_RATIO * base.max(rest)
            && (base - rest).abs() <= SPIKE_REST * (top - base.min(rest))
            && tops.iter().all(|phase| phase.piece.top() > base.max(rest))
    }
}

/// Two plateaus together are at their mean level; two slopes go from one end to the other.
fn joined(a: &Named, b: &Named) -> Piece {
    let (start, end) = (a.piece.start, b.piece.end);
    if a.name == "ramp_up" || a.name == "ramp_down" {
        return Piece { start, end, from: a.piece.from, to: b.piece.to };
    }
    let weighted = |phase: &Named| phase.piece.mean() * phase.piece.len() as f64;
    let level = (weighted(a) + weighted(b)) / (end - start).max(1) as f64;
    Piece { start, end, from: level, to: level }
}
