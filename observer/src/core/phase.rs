//! Load levels -> phases.
//!
//! The user's own marks win; else the load's course is cut by its slope into
//! `idle, ramp_up, plateau, spike, ramp_down, recovery`.

use super::load::Level;

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

/// Length of the steps that the course is cut from.
pub const STEP_NS: u64 = 500_000_000;

/// Share of the peak below which the load is idle.
const IDLE_RATIO: f64 = 0.05;
/// Change over [`SLOPE_STEPS`] on either side, as a share of the peak, that is a slope.
const SLOPE_RATIO: f64 = 0.12;
const SLOPE_STEPS: usize = 2;
/// A plateau that is this much above what surrounds it, and short, is a spike.
const SPIKE_RATIO: f64 = 2.0;
const SPIKE_STEPS: usize = 10;
/// A phase shorter than this is part of its neighbour.
const SHORTEST_STEPS: usize = 2;

/// Names the course of the load. `load_end_ns` is when the command ended: what follows is recovery.
pub fn segment(levels: &[Level], load_end_ns: Option<u64>) -> Vec<Span> {
    let course = smooth(&normalised(levels));
    let mut names: Vec<&'static str> = (0..course.len()).map(|index| name_step(&course, index)).collect();
    if let Some(end) = load_end_ns {
        for (level, name) in levels.iter().zip(&mut names) {
            if level.start_ns >= end {
                *name = "recovery";
            }
        }
    }
    let mut runs = runs(&names);
    mark_spikes(&mut runs, &course);
    absorb_short(&mut runs);
    spans(&runs, levels)
}

/// A phase as a range of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    name: &'static str,
    start: usize,
    end: usize,
}

/// Connections per step; where connections are kept (few arrive, many are open), the open ones.
fn normalised(levels: &[Level]) -> Vec<f64> {
    let arrivals: Vec<f64> = levels.iter().map(|level| level.connections.unwrap_or(0) as f64).collect();
    let open: Vec<f64> = levels.iter().map(|level| level.concurrency.unwrap_or(0.0)).collect();
    let peak = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let kept = arrivals.iter().sum::<f64>() <= 2.0 * peak(&open);
    let values = if kept { open } else { arrivals };
    let top = peak(&values);
    if top == 0.0 { values } else { values.iter().map(|value| value / top).collect() }
}

/// Median of three, which forgets a single odd step and keeps edges.
fn smooth(values: &[f64]) -> Vec<f64> {
    (0..values.len())
        .map(|index| {
            let at = |offset: isize| {
                let clamped = (index as isize + offset).clamp(0, values.len() as isize - 1);
                values[clamped as usize]
            };
            let (a, b, c) = (at(-1), at(0), at(1));
            a.max(b).min(a.min(b).max(c))
        })
        .collect()
}

fn name_step(course: &[f64], index: usize) -> &'static str {
    let level = course[index];
    if level < IDLE_RATIO {
        return "idle";
    }
    let before = course[index.saturating_sub(SLOPE_STEPS)];
    let after = course[(index + SLOPE_STEPS).min(course.len() - 1)];
    if after - before > SLOPE_RATIO {
        "ramp_up"
    } else if before - after > SLOPE_RATIO {
        "ramp_down"
    } else {
        "plateau"
    }
}

fn runs(names: &[&'static str]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.name == *name => run.end = index + 1,
            _ => runs.push(Run { name, start: index, end: index + 1 }),
        }
    }
    runs
}

/// A short top between a rise and a fall back to the level before it is a spike, slopes included.
fn mark_spikes(runs: &mut Vec<Run>, course: &[f64]) {
    let mean = |run: Run| course[run.start..run.end].iter().sum::<f64>() / (run.end - run.start) as f64;
    let mut index = 1;
    while index + 2 < runs.len() {
        let (base, rise) = (runs[index - 1], runs[index]);
        let has_top = runs[index + 1].name == "plateau";
        let fall_at = if has_top { index + 2 } else { index + 1 };
        let Some(fall) = runs.get(fall_at).copied() else { break };
        let top = course[rise.start..fall.end].iter().copied().fold(0.0, f64::max);
        let is_spike = base.name == "plateau"
            && rise.name == "ramp_up"
            && fall.name == "ramp_down"
            && fall.end - rise.start <= SPIKE_STEPS
            && top >= mean(base) * SPIKE_RATIO;
        if is_spike {
            runs.splice(index..=fall_at, [Run { name: "spike", start: rise.start, end: fall.end }]);
        }
        index += 1;
    }
}

/// Gives phases that are too short to mean anything to the one before.
fn absorb_short(runs: &mut Vec<Run>) {
    let mut kept: Vec<Run> = Vec::new();
    for run in runs.drain(..) {
        let short = run.end - run.start < SHORTEST_STEPS && run.name != "recovery";
        match kept.last_mut() {
            Some(last) if short || last.name == run.name => last.end = run.end,
            _ => kept.push(run),
        }
    }
    *runs = kept;
}

fn spans(runs: &[Run], levels: &[Level]) -> Vec<Span> {
    runs.iter()
        .map(|run| Span {
            name: run.name.to_owned(),
            start_ns: levels[run.start].start_ns,
            end_ns: levels[run.end - 1].start_ns + STEP_NS,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(course: &[u64]) -> Vec<String> {
        let levels: Vec<Level> = course
            .iter()
            .enumerate()
            .map(|(index, count)| Level {
                start_ns: index as u64 * STEP_NS,
                connections: Some(*count),
                concurrency: None,
            })
            .collect();
        segment(&levels, None).into_iter().map(|span| span.name).collect()
    }

    fn stretch(parts: &[(u64, u64, usize)]) -> Vec<u64> {
        parts
            .iter()
            .flat_map(|(from, to, steps)| {
                (0..*steps).map(move |step| {
                    from + (to.abs_diff(*from) * step as u64 / *steps as u64) * u64::from(to > from)
                })
            })
            .collect()
    }

    #[test]
    fn a_ramp_and_its_plateau() {
        let course = stretch(&[(0, 0, 6), (0, 1000, 20), (1000, 1000, 20)]);
        assert_eq!(names(&course), ["idle", "ramp_up", "plateau"]);
    }

    #[test]
    fn a_spike_on_a_plateau() {
        let course = stretch(&[(300, 300, 20), (1000, 1000, 5), (300, 300, 20)]);
        assert_eq!(names(&course), ["plateau", "spike", "plateau"]);
    }

    #[test]
    fn no_load_is_idle_and_nothing_is_nothing() {
        assert_eq!(names(&[0; 20]), ["idle"]);
        assert!(names(&[]).is_empty());
    }
}
