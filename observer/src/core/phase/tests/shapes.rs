//! Loads of known shape, and the noise they come with.

use super::{BIN_NS, Level, SECOND_NS, START_NS, Window};

/// How the load is had, and how it varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    /// Random arrivals, each seen by a probe.
    Random,
    /// Sent at even intervals.
    Paced,
    /// Random, around a level that wanders by a few percent from second to second.
    Unsteady,
    /// Random arrivals on a host so busy that some are entered a tick late.
    Late,
    /// Random arrivals, read from a counter about once a second.
    Counter,
}

impl Noise {
    pub(super) const ALL: [Self; 5] = [Self::Random, Self::Paced, Self::Unsteady, Self::Late, Self::Counter];
}

/// A part of a load: rates per second, change linear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) seconds: f64,
}

/// A load.
#[derive(Clone, Debug)]
pub(super) struct Shape(pub(super) Vec<Part>);

/// Numbers that look random and are always the same.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Between 0 and 1 (splitmix64).
    pub(super) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// As often between 20 and 200 as between 200 and 2000.
    fn rate(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0.0);
        while product > limit {
            product *= self.unit();
            count += 1.0;
        }
        count
    }
}

impl Shape {
    pub(super) fn of(parts: &[(&'static str, f64, f64, f64)]) -> Self {
        Self(parts.iter().map(|&(name, from, to, seconds)| Part { name, from, to, seconds }).collect())
    }

    pub(super) fn ramp(random: &mut Random) -> Self {
        let rate = random.rate(20.0, 5000.0);
        let mut seconds = || random.between(3.0, 60.0);
        let mut parts = vec![
            ("ramp_up", 0.0, rate, seconds()),
            ("plateau", rate, rate, seconds()),
            ("ramp_down", rate, 0.0, seconds()),
        ];
        if random.unit() < 0.5 {
            parts.insert(0, ("idle", 0.0, 0.0, random.between(3.0, 20.0)));
        }
        Self::of(&parts)
    }

    /// One whose boundaries the arrivals can tell at all.
    pub(super) fn tellable_ramp(random: &mut Random) -> Self {
        loop {
            let shape = Self::ramp(random);
            if shape.is_tellable() {
                return shape;
            }
        }
    }

    /// Whether arrivals can tell where this ramp bends: even one who knew the shape could say where a ramp
    /// of length `l` from nothing meets a plateau of length `p` at rate `r` only with a variance of about
    /// `2 l / r` for the slope and `l^2 / (r p)` for the level; and the plateau has to cut off enough of
    /// the peak that the slopes would make without it.
    pub(super) fn is_tellable(&self) -> bool {
        let at = self.0.iter().position(|part| part.name == "plateau").unwrap_or(0);
        let [up, plateau, down] = &self.0[at - 1..] else { return false };
        let (rate, level_s) = (plateau.from, plateau.seconds);
        let variance = |l: f64| 2.0 * l / rate + l * l / (rate * level_s);
        let cut_off = rate * level_s * level_s / (2.0 * (up.seconds + down.seconds));
        variance(up.seconds.max(down.seconds)) <= 0.8 * 0.8 && cut_off >= 4.0 * (rate * level_s).sqrt()
    }

    pub(super) fn step(random: &mut Random) -> Self {
        let mut rate = random.rate(20.0, 1000.0);
        let up = random.unit() < 0.7;
        let mut parts = Vec::new();
        for _ in 0..if random.unit() < 0.5 { 2 } else { 3 } {
            parts.push(("plateau", rate, rate, random.between(3.0, 60.0)));
            rate *= random.between(1.5, 3.0);
        }
        if !up {
            parts.reverse();
        }
        Self::of(&parts)
    }

    pub(super) fn spike(random: &mut Random) -> Self {
        let base = random.rate(20.0, 500.0);
        let top = base * random.between(2.0, 10.0);
        let (before, after) = (random.between(4.0, 60.0), random.between(4.0, 60.0));
        let length = random.between(3.0, 20f64.min((before + after) / 2.2));
        Self::of(&[
            ("plateau", base, base, before),
            ("spike", top, top, length),
            ("plateau", base, base, after),
        ])
    }

    /// Phases as (name, seconds at which it ends).
    pub(super) fn phases(&self) -> Vec<(String, f64)> {
        let mut end = 0.0;
        self.0
            .iter()
            .map(|part| {
                end += part.seconds;
                (part.name.to_owned(), end)
            })
            .collect()
    }

    pub(super) fn window(&self) -> Window {
        let seconds: f64 = self.0.iter().map(|part| part.seconds).sum();
        Window {
            start_ns: START_NS,
            end_ns: START_NS + (seconds * SECOND_NS as f64) as u64,
            load_end_ns: None,
        }
    }

    /// Arrivals expected until an instant.
    fn expected(&self, mut seconds: f64) -> f64 {
        let mut sum = 0.0;
        for part in &self.0 {
            let here = seconds.clamp(0.0, part.seconds);
            sum += part.from * here + (part.to - part.from) * here * here / (2.0 * part.seconds);
            seconds -= here;
        }
        sum
    }

    /// What observer sees of it.
    pub(super) fn levels(&self, noise: Noise, window: &Window, random: &mut Random) -> Vec<Level> {
        let step_ns = window.step_ns();
        let first_ns = window.start_ns / BIN_NS * BIN_NS;
        let steps = (window.end_ns - first_ns).div_ceil(step_ns);
        let until = |step: u64| {
            let at_ns = (first_ns + step * step_ns) as f64 - window.start_ns as f64;
            self.expected(at_ns / SECOND_NS as f64)
        };
        let mut drift = 1.0;
        let mut counts: Vec<f64> = (0..steps)
            .map(|step| {
                let mean = until(step + 1) - until(step);
                drift += (1.0 - drift) * 0.1 + 0.01 * random.normal();
                match noise {
                    Noise::Random | Noise::Late | Noise::Counter => random.poisson(mean),
                    Noise::Paced => until(step + 1).floor() - until(step).floor(),
                    Noise::Unsteady => random.poisson(mean * drift),
                }
            })
            .collect();
        if noise == Noise::Late {
            put_off(&mut counts, random);
        }
        if noise == Noise::Counter {
            counts = read_by_the_second(&counts, random);
        }
        let level = |(step, count): (u64, f64)| Level {
            start_ns: first_ns + step * step_ns,
            connections: Some(count as u64),
            concurrency: None,
        };
        (0..steps).zip(counts).map(level).collect()
    }
}

/// What a counter says that is read about once a second: the load's history spreads it evenly over the
/// time between two reads.
fn read_by_the_second(counts: &[f64], random: &mut Random) -> Vec<f64> {
    let mut seen = Vec::new();
    while seen.len() < counts.len() {
        let from = seen.len();
        let to = (from + random.between(8.0, 13.0) as usize).min(counts.len());
        let sum: f64 = counts[from..to].iter().sum();
        let share = |step: usize| (sum * step as f64 / (to - from) as f64).floor();
        seen.extend((1..=to - from).map(|step| share(step) - share(step - 1)));
    }
    seen
}

/// In every tenth tick some of what happened is only seen in the next.
fn put_off(counts: &mut [f64], random: &mut Random) {
    for step in 1..counts.len() {
        if random.unit() < 0.1 {
            let late = (counts[step - 1] * random.unit()).floor();
            counts[step - 1] -= late;
            counts[step] += late;
        }
    }
}
