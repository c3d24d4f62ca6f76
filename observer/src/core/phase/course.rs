//! What the load's course is made of, and how noisy it is.

use crate::core::load::Level;

/// Connections that last this long on average are kept: what counts is how many are open.
const KEPT_S: f64 = 10.0;
/// Deviation of a load that no chance explains, as a share of its level.
const UNSTEADY: f64 = 0.03;
/// Share of the peak that the mean is taken to be at least, where the noise is concerned.
const NOISE_FLOOR: f64 = 0.02;
/// The least that a count varies, compared with one of random arrivals. A paced load varies less, but to
/// say so would make a phase of every change of its pace.
const DISPERSION_FLOOR: f64 = 1.0;
/// Blocks that the dispersion is estimated from, where a run is long enough for [`BLOCK_S`].
const BLOCKS: usize = 25;
/// Longest block: a counter that is read once a second says nothing of shorter ones.
const BLOCK_S: f64 = 1.0;
/// What a block has to count for its noise to look normal.
const BLOCK_COUNT: f64 = 5.0;
/// Median of the square of a standard normal variable.
const MEDIAN_CHI_SQUARE: f64 = 0.4549;
/// Mean of the lower nineteen twentieths of it.
const TRIMMED_CHI_SQUARE: f64 = 0.759;

/// The load, step by step.
#[derive(Debug)]
pub(super) struct Course {
    /// Arrivals in each step, or the connections that are open where they are kept.
    pub(super) values: Vec<f64>,
    /// Connections that are open at the end of each step; empty when not known.
    pub(super) open: Vec<f64>,
    /// What one connection per second is in units of `values`; one connection where they are kept.
    pub(super) unit: f64,
    /// Seconds per step.
    pub(super) step_s: f64,
    /// Variance over mean, as seen: 1 for random arrivals.
    dispersion: f64,
}

impl Course {
    /// Reads the course from what arrived and what is open.
    pub(super) fn of(levels: &[Level], step_s: f64) -> Self {
        let arrivals: Vec<f64> = levels.iter().map(|level| level.connections.unwrap_or(0) as f64).collect();
        let open: Vec<f64> = levels.iter().filter_map(|level| level.concurrency).collect();
        let open = if open.len() == levels.len() { open } else { Vec::new() };
        let kept = are_kept(&arrivals, &open, step_s);
        let (values, unit) = if kept { (open.clone(), 1.0) } else { (arrivals, step_s) };
        let dispersion = dispersion(&values, step_s);
        Self { values, open, unit, step_s, dispersion }
    }

    /// The variance of each step where the course is expected at `means`.
    pub(super) fn variances(&self, means: &[f64]) -> Vec<f64> {
        let peak = means.iter().copied().fold(0.0, f64::max);
        let floor = (peak * NOISE_FLOOR).max(NOISE_FLOOR);
        let variance = |mean: f64| self.dispersion * mean + (UNSTEADY * mean).powi(2);
        means.iter().map(|mean| variance(mean.max(floor))).collect()
    }

    /// The mean of what surrounds each step within `reach` steps.
    pub(super) fn surroundings(&self, reach: usize) -> Vec<f64> {
        let mut sums = vec![0.0];
        self.values.iter().for_each(|value| sums.push(sums[sums.len() - 1] + value));
        let mean = |step: usize| {
            let (from, to) = (step.saturating_sub(reach), (step + reach + 1).min(self.values.len()));
            (sums[to] - sums[from]) / (to - from) as f64
        };
        (0..self.values.len()).map(mean).collect()
    }
}

/// Whether connections outlast requests: few arrive, many are open. Then arrivals say when a client
/// began, and only what is open says how many there are.
fn are_kept(arrivals: &[f64], open: &[f64], step_s: f64) -> bool {
    let arrived: f64 = arrivals.iter().sum();
    let peak = open.iter().copied().fold(0.0, f64::max);
    let open_seconds = open.iter().sum::<f64>() * step_s;
    peak > 0.0 && (arrived <= 2.0 * peak || open_seconds >= KEPT_S * arrived)
}

/// Variance over mean, between what short and long blocks show: short ones are many, but a counter is
/// even within each read, and what is late in one is in the next; long ones are few, and off by chance.
fn dispersion(values: &[f64], step_s: f64) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let steps_per_s = (BLOCK_S / step_s).round() as usize;
    let long = (values.len() / BLOCKS).clamp(1, steps_per_s.max(1));
    let short = ((BLOCK_COUNT / mean).ceil() as usize).clamp(1, long);
    let short = trimmed_mean(&bends(values, short)).unwrap_or(DISPERSION_FLOOR);
    let long = median(&bends(values, long)).unwrap_or(DISPERSION_FLOOR);
    (short.max(DISPERSION_FLOOR) * long.max(DISPERSION_FLOOR)).sqrt()
}

/// Squared second differences of blocks of one length over what they come to by chance, the smallest
/// first. A slope has none.
fn bends(values: &[f64], length: usize) -> Vec<f64> {
    let mut sums = vec![0.0];
    values.iter().for_each(|value| sums.push(sums[sums.len() - 1] + value));
    let block = |start: usize| sums[start + length] - sums[start];
    let starts = 0..(values.len() + 1).saturating_sub(3 * length);
    let mut bends: Vec<f64> = starts
        .map(|start| [block(start), block(start + length), block(start + 2 * length)])
        .filter(|three| three.iter().sum::<f64>() > BLOCK_COUNT)
        .map(|three| {
            let bend = three[0] - 2.0 * three[1] + three[2];
            bend * bend / (2.0 * three.iter().sum::<f64>())
        })
        .collect();
    bends.sort_by(f64::total_cmp);
    bends
}

/// Dispersion by the median: half of the blocks may have edges in them.
fn median(bends: &[f64]) -> Option<f64> {
    bends.get(bends.len() / 2).map(|median| median / MEDIAN_CHI_SQUARE)
}

/// Dispersion by the mean of all but the highest: ticks that are late now and then count.
fn trimmed_mean(bends: &[f64]) -> Option<f64> {
    let kept = &bends[..bends.len() * 19 / 20];
    (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64 / TRIMMED_CHI_SQUARE)
}
