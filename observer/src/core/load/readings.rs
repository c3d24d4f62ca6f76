//! What a gauge read, on change, over time: the older half is thinned when it grows too long.

/// Readings as (when, value), oldest first. What `when` counts is its owner's business.
#[derive(Debug, Default)]
pub struct Readings(Vec<(u64, u64)>);

impl Readings {
    /// Enters a reading; a later one of the same instant replaces it.
    pub fn enter(&mut self, at: u64, value: u64) {
        match self.0.last_mut() {
            Some(last) if last.0 == at => last.1 = value,
            _ => self.0.push((at, value)),
        }
    }

    /// What held at this instant; `None` before the first reading.
    pub fn at(&self, at: u64) -> Option<u64> {
        let next = self.0.partition_point(|(read, _)| *read <= at);
        next.checked_sub(1).map(|index| self.0[index].1)
    }

    /// Forgets what was read before, except for what still held then.
    pub fn forget_before(&mut self, at: u64) {
        let kept = self.0.partition_point(|(read, _)| *read <= at).saturating_sub(1);
        self.0.drain(..kept);
    }

    /// Leaves out every other one of the older half until there are at most so many. Those that `is_kept` stay,
    /// as long as that suffices.
    pub fn thin(&mut self, at_most: usize, is_kept: impl Fn(u64) -> bool) {
        while self.0.len() > at_most.max(4) {
            let enough = self.0.len() * 7 / 8;
            self.halve_older_half(&is_kept);
            if self.0.len() > enough {
                self.halve_older_half(|_| false);
            }
        }
    }

    fn halve_older_half(&mut self, is_kept: impl Fn(u64) -> bool) {
        let (older, mut index) = (self.0.len() / 2, 0);
        self.0.retain(|(read, _)| {
            index += 1;
            index > older || index % 2 == 0 || is_kept(*read)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Readings;

    #[test]
    fn the_latest_and_what_is_kept_stay_exact() {
        let mut readings = Readings::default();
        (0..1_000).for_each(|at| readings.enter(at, at * 2));
        readings.thin(200, |at| (300..320).contains(&at));
        assert!(readings.0.len() <= 200, "{}", readings.0.len());
        assert!((950..1_000).chain(300..320).all(|at| readings.at(at) == Some(at * 2)));
    }

    #[test]
    fn what_is_kept_gives_way_when_it_is_too_much() {
        let mut readings = Readings::default();
        (0..1_000).for_each(|at| readings.enter(at, at));
        readings.thin(10, |_| true);
        assert!(readings.0.len() <= 10, "{}", readings.0.len());
        assert_eq!(readings.at(2_000), Some(999));
    }

    #[test]
    fn what_held_still_holds_after_the_rest_is_forgotten() {
        let mut readings = Readings::default();
        [(10, 1), (20, 2), (20, 3), (30, 4)].into_iter().for_each(|(at, value)| readings.enter(at, value));
        readings.forget_before(25);
        assert_eq!([15, 25, 30].map(|at| readings.at(at)), [None, Some(3), Some(4)]);
    }
}
