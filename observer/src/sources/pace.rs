//! When something is due, so that reading it stays cheap.

use nix::time::{ClockId, clock_gettime};

use super::Clock;

/// One tick is not exactly as long as the next; what is due within this time is due now.
const SLACK_NS: u64 = 20_000_000;

/// At most this share of the time goes by in runs, whatever of it is waiting for a turn on a busy machine.
const WALL_SHARE: u64 = 10;

/// Runs at most every `interval`, and rarer when one run is dear: never more than 1/`share` of a CPU.
#[derive(Debug)]
pub(crate) struct Pace {
    interval_ns: u64,
    share: u64,
    next_ns: u64,
}

impl Pace {
    /// Due at once, then every `interval_ms` at most.
    pub(crate) const fn every_ms(interval_ms: u64) -> Self {
        Self { interval_ns: interval_ms * 1_000_000, share: 0, next_ns: 0 }
    }

    /// The same, but taking at most 1/`share` of a CPU.
    pub(crate) const fn at_most_one_in(self, share: u64) -> Self {
        Self { share, ..self }
    }

    /// Due every `interval_ms` at most, from the next run on.
    pub(crate) const fn set_interval_ms(&mut self, interval_ms: u64) {
        self.interval_ns = interval_ms * 1_000_000;
    }

    /// Takes at most 1/`share` of a CPU from the next run on.
    pub(crate) const fn set_share(&mut self, share: u64) {
        self.share = share;
    }

    /// Whether it is time.
    pub(crate) const fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_add(SLACK_NS) >= self.next_ns
    }

    /// It ran, beginning at `started_ns`, and cost next to nothing.
    pub(crate) const fn ran(&mut self, started_ns: u64) {
        self.next_ns = started_ns.saturating_add(self.interval_ns);
    }

    /// It ran, beginning at `started_ns`, and cost this.
    pub(crate) fn ran_at(&mut self, started_ns: u64, cost: Cost) {
        let rest = cost.cpu_ns.saturating_mul(self.share).max(cost.wall_ns.saturating_mul(WALL_SHARE));
        self.next_ns = started_ns.saturating_add(self.interval_ns.max(rest));
    }
}

/// What a run cost. A machine that is busy with a test makes it last longer, and not dearer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    wall_ns: u64,
    cpu_ns: u64,
}

impl Cost {
    /// The time that went by.
    pub(crate) const fn wall_ns(self) -> u64 {
        self.wall_ns
    }

    /// The CPU time that it took.
    pub(crate) const fn cpu_ns(self) -> u64 {
        self.cpu_ns
    }

    /// The same as if it had never waited for a turn.
    pub(crate) const fn of_cpu(self) -> Self {
        Self { wall_ns: 0, cpu_ns: self.cpu_ns }
    }

    /// Of this and a further part of the same run.
    pub(crate) const fn and(self, part: Self) -> Self {
        Self { wall_ns: self.wall_ns + part.wall_ns, cpu_ns: self.cpu_ns + part.cpu_ns }
    }
}

/// The beginning of a run, on the thread that runs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    wall_ns: u64,
    cpu_ns: Option<u64>,
}

impl Stopwatch {
    /// Now.
    pub(crate) fn start(clock: Clock<'_>) -> Self {
        Self { wall_ns: clock(), cpu_ns: thread_cpu_ns() }
    }

    /// When it was started, on `clock`.
    pub(crate) const fn started_ns(self) -> u64 {
        self.wall_ns
    }

    /// From then to now.
    pub(crate) fn cost(self, clock: Clock<'_>) -> Cost {
        let wall_ns = clock().saturating_sub(self.wall_ns);
        let cpu_ns = self.cpu_ns.zip(thread_cpu_ns()).map(|(before, after)| after.saturating_sub(before));
        Cost { wall_ns, cpu_ns: cpu_ns.unwrap_or(wall_ns) }
    }
}

fn thread_cpu_ns() -> Option<u64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    u64::try_from(std::time::Duration::from(time).as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::{Cost, Pace, Stopwatch};

    const MS: u64 = 1_000_000;

    #[test]
    fn a_jittering_tick_does_not_skip_a_turn() {
        let mut pace = Pace::every_ms(100);
        assert!(pace.is_due(0));
        pace.ran(1_000 * MS);
        assert!(!pace.is_due(1_050 * MS));
        assert!(pace.is_due(1_095 * MS));
    }

    #[test]
    fn a_dear_run_stretches_the_interval() {
        let mut pace = Pace::every_ms(1_000).at_most_one_in(200);
        pace.ran_at(0, Cost { wall_ns: 75 * MS, cpu_ns: 75 * MS });
        assert!(!pace.is_due(14_900 * MS));
        assert!(pace.is_due(15_000 * MS));
    }

    #[test]
    fn waiting_for_a_turn_stretches_it_less() {
        let mut pace = Pace::every_ms(1_000).at_most_one_in(1_000);
        pace.ran_at(0, Cost { wall_ns: 300 * MS, cpu_ns: MS });
        assert!(!pace.is_due(2_900 * MS));
        assert!(pace.is_due(3_000 * MS));
    }

    #[test]
    fn only_what_this_thread_did_is_dear() {
        let now = std::sync::atomic::AtomicU64::new(0);
        let clock = || now.load(std::sync::atomic::Ordering::Relaxed);
        let watch = Stopwatch::start(&clock);
        now.store(3_600_000 * MS, std::sync::atomic::Ordering::Relaxed);
        let cost = watch.cost(&clock);
        assert_eq!(cost.wall_ns, 3_600_000 * MS);
        assert!(cost.cpu_ns < cost.wall_ns);
    }
}
