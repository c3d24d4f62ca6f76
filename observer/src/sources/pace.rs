//! When something is due, so that reading it stays cheap.

/// One tick is not exactly as long as the next; what is due within this time is due now.
const SLACK_NS: u64 = 20_000_000;

/// Runs at most every `interval`, and rarer when one run takes long: never more than 1/`share` of the time.
#[derive(Debug)]
pub(super) struct Pace {
    interval_ns: u64,
    share: u64,
    next_ns: u64,
}

impl Pace {
    /// Due at once, then every `interval_ms` at most.
    pub(super) const fn every_ms(interval_ms: u64) -> Self {
        Self { interval_ns: interval_ms * 1_000_000, share: 0, next_ns: 0 }
    }

    /// The same, but taking at most 1/`share` of the time.
    pub(super) const fn at_most_one_in(self, share: u64) -> Self {
        Self { share, ..self }
    }

    /// Due every `interval_ms` at most, from the next run on.
    pub(super) const fn set_interval_ms(&mut self, interval_ms: u64) {
        self.interval_ns = interval_ms * 1_000_000;
    }

    /// Takes at most 1/`share` of the time from the next run on.
    pub(super) const fn set_share(&mut self, share: u64) {
        self.share = share;
    }

    /// Whether it is time.
    pub(super) const fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_add(SLACK_NS) >= self.next_ns
    }

    /// It ran, beginning at `started_ns`, and cost `busy_ns`.
    pub(super) fn ran(&mut self, started_ns: u64, busy_ns: u64) {
        let rest = self.interval_ns.max(busy_ns.saturating_mul(self.share));
        self.next_ns = started_ns.saturating_add(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_jittering_tick_does_not_skip_a_turn() {
        let mut pace = Pace::every_ms(100);
        assert!(pace.is_due(0));
        pace.ran(1_000 * MS, 1);
        assert!(!pace.is_due(1_050 * MS));
        assert!(pace.is_due(1_095 * MS));
    }

    #[test]
    fn a_slow_run_stretches_the_interval() {
        let mut pace = Pace::every_ms(1_000).at_most_one_in(200);
        pace.ran(0, 75 * MS);
        assert!(!pace.is_due(14_900 * MS));
        assert!(pace.is_due(15_000 * MS));
    }
}
