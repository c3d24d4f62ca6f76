//! Straight lines through stretches of a noisy course, each in constant time.

/// Weighted moments of the course up to a step.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    w: f64,
    wt: f64,
    wtt: f64,
    wy: f64,
    wty: f64,
    wyy: f64,
}

impl Moments {
    /// Adds one value at a time, in steps.
    fn add(&mut self, time: f64, value: f64, weight: f64) {
        self.w += weight;
        self.wt += weight * time;
        self.wtt += weight * time * time;
        self.wy += weight * value;
        self.wty += weight * time * value;
        self.wyy += weight * value * value;
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            w: self.w - before.w,
            wt: self.wt - before.wt,
            wtt: self.wtt - before.wtt,
            wy: self.wy - before.wy,
            wty: self.wty - before.wty,
            wyy: self.wyy - before.wyy,
        }
    }
}

/// The moments of every prefix of a course, so that those of any stretch are one subtraction.
#[derive(Debug)]
pub(super) struct Fits {
    prefixes: Vec<Moments>,
}

/// What the distance of a stretch from a line depends on, in variances:
/// `square - 2 (u from + v to) + uu from^2 + 2 uv from to + vv to^2`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distance {
    pub(super) square: f64,
    pub(super) u: f64,
    pub(super) v: f64,
    pub(super) uu: f64,
    pub(super) uv: f64,
    pub(super) vv: f64,
}

impl Distance {
    /// The least distance from a level line.
    pub(super) fn of_level(&self) -> f64 {
        let (value, weight) = (self.u + self.v, self.uu + 2.0 * self.uv + self.vv);
        (self.square - value * value / weight).max(0.0)
    }

    /// The least distance from a line of any slope.
    pub(super) fn of_slope(&self) -> f64 {
        let determinant = self.uu * self.vv - self.uv * self.uv;
        if determinant <= self.uu * self.vv * 1e-9 {
            return self.of_level();
        }
        let from = (self.u * self.vv - self.v * self.uv) / determinant;
        let to = (self.v * self.uu - self.u * self.uv) / determinant;
        (self.square - self.u * from - self.v * to).max(0.0)
    }
}

impl Fits {
    /// Sums up a course whose values have these variances.
    pub(super) fn new(values: &[f64], variances: &[f64]) -> Self {
        let mut sum = Moments::default();
        let mut prefixes = vec![sum];
        for (step, (value, variance)) in values.iter().zip(variances).enumerate() {
            sum.add(step as f64 + 0.5, *value, 1.0 / variance);
            prefixes.push(sum);
        }
        Self { prefixes }
    }

    /// Number of steps.
    pub(super) fn len(&self) -> usize {
        self.prefixes.len() - 1
    }

    /// The steps from `start` to before `end`, against a line from the beginning of the one to the
    /// beginning of the other.
    pub(super) fn distance(&self, start: usize, end: usize) -> Distance {
        let sum = self.prefixes[end].since(&self.prefixes[start]);
        let (origin, length) = (start as f64, (end - start) as f64);
        // Time as a share of the stretch.
        let ws = (sum.wt - origin * sum.w) / length;
        let wss = (sum.wtt - 2.0 * origin * sum.wt + origin * origin * sum.w) / (length * length);
        let wsy = (sum.wty - origin * sum.wy) / length;
        Distance {
            square: sum.wyy,
            u: sum.wy - wsy,
            v: wsy,
            uu: sum.w - 2.0 * ws + wss,
            uv: ws - wss,
            vv: wss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_course_is_its_own_line() {
        let values: Vec<f64> = (0..20).map(|step| 3.0 + 2.0 * (f64::from(step) + 0.5)).collect();
        let fits = Fits::new(&values, &[4.0; 20]);
        assert!(fits.distance(5, 15).of_slope() < 1e-6);
        let deviations: f64 = values[5..15].iter().map(|value| (value - 23.0).powi(2) / 4.0).sum();
        assert!((fits.distance(5, 15).of_level() - deviations).abs() < 1e-6);
    }
}
