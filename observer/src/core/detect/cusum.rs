//! When did failures become more than the normal rate explains?
//!
//! A one-sided CUSUM (Page, 1954) over the failures that exceed what is expected from the exposure:
//! `score = max(0, score + min(events - expected, cap))`, with `expected = ratio * exposure`. The onset is
//! back-dated to the first failure since the score last left zero, which is where the best suffix begins.

use std::collections::VecDeque;

use crate::core::ledger::Bracket;

/// How many failures, relative to what, are a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Failures per exposure (connection, segment) below which nothing is material.
    pub floor_ratio: f64,
    /// Failures in excess at which the alarm is raised. At most 1: the first one counts at once.
    pub threshold: f64,
    /// At most this much excess counts within one [`Policy::BURST_NS`], so that a single burst does
    /// not raise the alarm alone.
    pub burst_cap: f64,
    /// Whether the exposure counts things that fail at most once each (connections), rather than time.
    pub is_share: bool,
}

impl Policy {
    /// A terminal failure: one is enough.
    pub const TERMINAL: Self =
        Self { floor_ratio: 0.0, threshold: 1.0, burst_cap: f64::INFINITY, is_share: false };
    /// The window of the burst cap.
    pub const BURST_NS: u64 = 500_000_000;
    /// Failures so far apart are not one rise. Where connections stay open, nothing that could have failed lies between
    /// them.
    pub const APART_NS: u64 = 60_000_000_000;
    /// What was active in the pre-roll counts only at this multiple of its normalised rate.
    pub const OVER_BASELINE: f64 = 3.0;
}

/// What happened at one subject between two reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// CLOCK_MONOTONIC of the read.
    pub at_ns: u64,
    /// Failures.
    pub events: u64,
    /// Of them, those that count in full however many come at once.
    pub uncapped: u64,
    /// Connections (or segments, or milliseconds) that could have failed.
    pub exposure: f64,
    /// When the first failure happened; only with `events > 0`.
    pub first: Bracket,
}

/// The detector of one fault line at one subject.
#[derive(Clone, Debug)]
pub struct Cusum {
    policy: Policy,
    baseline: Baseline,
    score: f64,
    /// First failure since the score was last zero.
    candidate: Option<Bracket>,
    burst: VecDeque<Burst>,
    /// The latest tick with a failure.
    failed_ns: u64,
}

/// The excess of one tick of late.
#[derive(Clone, Copy, Debug)]
struct Burst {
    at_ns: u64,
    counted: f64,
    cut_off: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Baseline {
    events: f64,
    exposure: f64,
}

impl Cusum {
    /// A detector that has seen nothing.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            baseline: Baseline::default(),
            score: 0.0,
            candidate: None,
            burst: VecDeque::new(),
            failed_ns: 0,
        }
    }

    /// Learns what is normal: called for the ticks of the pre-roll.
    pub fn learn(&mut self, tick: &Tick) {
        self.baseline.events += tick.events as f64;
        self.baseline.exposure += tick.exposure;
    }

    /// Whether what was normal would have been a fault already.
    pub fn was_active(&self) -> bool {
        let Baseline { events, exposure } = self.baseline;
        events > 0.0 && events >= self.policy.threshold && events > self.policy.floor_ratio * exposure
    }

    /// Enters a tick of the run. Returns the onset when the alarm is raised by it; the caller stops
    /// asking then, since a confirmed onset never moves.
    pub fn observe(&mut self, tick: &Tick) -> Option<Bracket> {
        if tick.events > 0 {
            let before_ns = std::mem::replace(&mut self.failed_ns, tick.at_ns);
            if tick.at_ns.saturating_sub(before_ns) > Policy::APART_NS {
                (self.score, self.candidate) = (0.0, None);
            }
        }
        let excess = tick.events as f64 - self.expected_ratio() * tick.exposure;
        self.score = (self.score + self.capped(tick, excess)).max(0.0);
        if self.score == 0.0 {
            self.candidate = None;
            return None;
        }
        if tick.events > 0 {
            self.candidate.get_or_insert(tick.first);
        }
        (self.score >= self.policy.threshold).then_some(self.candidate).flatten()
    }

    /// Failures per exposure that are normal here.
    fn expected_ratio(&self) -> f64 {
        let normal = if self.baseline.events > 0.0 {
            self.baseline.events / self.baseline.exposure.max(1.0)
        } else {
            0.0
        };
        let tripled = normal * Policy::OVER_BASELINE;
        // Where most of everything failed before, everything failing must still be more.
        let most = if self.policy.is_share { (1.0 + normal.min(1.0)) / 2.0 } else { f64::INFINITY };
        self.policy.floor_ratio.max(tripled.min(most))
    }

    /// The excess of this tick, less what the burst cap cuts off. What was cut off a moment ago makes up for
    /// ticks without failures, since a burst is judged as a whole.
    fn capped(&mut self, tick: &Tick, excess: f64) -> f64 {
        let from = tick.at_ns.saturating_sub(Policy::BURST_NS);
        while self.burst.front().is_some_and(|burst| burst.at_ns <= from) {
            self.burst.pop_front();
        }
        if excess <= 0.0 {
            return self.made_up_for(excess);
        }
        let uncapped = excess.min(tick.uncapped as f64);
        let used: f64 = self.burst.iter().map(|burst| burst.counted).sum();
        let counted = (excess - uncapped).min((self.policy.burst_cap - used).max(0.0));
        let cut_off = excess - uncapped - counted;
        self.burst.push_back(Burst { at_ns: tick.at_ns, counted, cut_off });
        uncapped + counted
    }

    /// What is left of a shortfall after what was cut off has made up for it.
    fn made_up_for(&mut self, mut shortfall: f64) -> f64 {
        for burst in &mut self.burst {
            let taken = burst.cut_off.min(-shortfall);
            burst.cut_off -= taken;
            shortfall += taken;
        }
        shortfall
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MATERIAL: Policy =
        Policy { floor_ratio: 0.01, threshold: 3.0, burst_cap: f64::INFINITY, is_share: true };

    fn tick(number: u64, events: u64, exposure: f64) -> Tick {
        let at_ns = (number + 1) * 100_000_000;
        let first = Bracket { lo_ns: at_ns - 100_000_000, hi_ns: at_ns };
        Tick { at_ns, events, uncapped: 0, exposure, first }
    }

    #[test]
    fn a_terminal_failure_is_an_onset_at_once() {
        let mut detector = Cusum::new(Policy::TERMINAL);
        assert_eq!(detector.observe(&tick(0, 0, 50.0)), None);
        assert_eq!(detector.observe(&tick(1, 1, 50.0)), Some(tick(1, 1, 0.0).first));
    }

    #[test]
    fn one_burst_is_not_enough_unless_each_of_it_counts_in_full() {
        let policy = Policy { burst_cap: 2.0, ..MATERIAL };
        assert_eq!(Cusum::new(policy).observe(&tick(0, 50, 50.0)), None);
        let in_full = Tick { uncapped: 50, ..tick(0, 50, 50.0) };
        assert_eq!(Cusum::new(policy).observe(&in_full), Some(in_full.first));
    }

    #[test]
    fn what_goes_on_is_more_than_a_burst() {
        let policy = Policy { burst_cap: 2.0, ..MATERIAL };
        // One in ten fails, in every other tick: a burst of 20, and then nothing for as long.
        let detect = |ticks: u64| {
            let mut detector = Cusum::new(policy);
            (0..ticks).any(|n| detector.observe(&tick(n, if n % 2 == 0 { 20 } else { 0 }, 100.0)).is_some())
        };
        assert_eq!((detect(5), detect(10)), (false, true));
    }

    #[test]
    fn the_onset_is_back_dated_to_the_first_failure_of_the_rise() {
        let mut detector = Cusum::new(MATERIAL);
        // One lost among a thousand is forgotten ...
        assert_eq!(detector.observe(&tick(0, 1, 1000.0)), None);
        assert_eq!(detector.observe(&tick(1, 0, 1000.0)), None);
        // ... and the rise begins where failures stay.
        assert_eq!(detector.observe(&tick(2, 2, 100.0)), None);
        assert_eq!(detector.observe(&tick(3, 0, 50.0)), None);
        assert_eq!(detector.observe(&tick(4, 5, 100.0)), Some(tick(2, 0, 0.0).first));
    }

    #[test]
    fn failures_that_are_far_apart_do_not_add_up_where_nothing_else_passes() {
        let every = |ticks: u64| {
            let mut detector = Cusum::new(MATERIAL);
            let failed = |n: u64| u64::from(n.is_multiple_of(ticks));
            (0..10_000).any(|n| detector.observe(&tick(n, failed(n), 0.0)).is_some())
        };
        assert_eq!((every(590), every(610)), (true, false), "59 s and 61 s");
    }

    #[test]
    fn what_was_normal_before_is_no_onset_until_it_triples() {
        let mut detector = Cusum::new(MATERIAL);
        (0..20).for_each(|n| detector.learn(&tick(n, 10, 100.0)));
        for n in 20..200 {
            assert_eq!(detector.observe(&tick(n, 25, 100.0)), None, "2.5 times the normal rate");
        }
        assert!((200..210).any(|n| detector.observe(&tick(n, 60, 100.0)).is_some()));
    }

    #[test]
    fn everything_failing_is_more_than_most_failing() {
        let mut detector = Cusum::new(MATERIAL);
        (0..20).for_each(|n| detector.learn(&tick(n, 80, 100.0)));
        assert!((20..40).all(|n| detector.observe(&tick(n, 85, 100.0)).is_none()));
        assert!((40..60).any(|n| detector.observe(&tick(n, 100, 100.0)).is_some()));
    }

    #[test]
    fn one_burst_does_not_alarm_alone_where_it_is_capped() {
        let capped = Policy { burst_cap: 2.0, ..MATERIAL };
        let mut detector = Cusum::new(capped);
        assert_eq!(detector.observe(&tick(0, 500, 500.0)), None);
        assert!((1..30).all(|n| detector.observe(&tick(n, 0, 500.0)).is_none()));
        assert!((30..60).any(|n| detector.observe(&tick(n, 100, 500.0)).is_some()), "sustained");
    }

    proptest! {
        #[test]
        fn nothing_below_the_floor_is_ever_an_onset(exposures in proptest::collection::vec(0_u32..10_000, 1..200)) {
            let mut detector = Cusum::new(MATERIAL);
            for (n, exposure) in exposures.iter().enumerate() {
                let events = u64::from(exposure / 100);
                prop_assert_eq!(detector.observe(&tick(n as u64, events, f64::from(*exposure))), None);
            }
        }

        #[test]
        fn the_onset_is_never_before_the_first_failure_nor_after_the_alarm(
            ticks in proptest::collection::vec((0_u64..20, 0_u32..200), 1..200),
        ) {
            let mut detector = Cusum::new(MATERIAL);
            let mut first_failure = None;
            for (n, (events, exposure)) in ticks.iter().enumerate() {
                let tick = tick(n as u64, *events, f64::from(*exposure));
                if *events > 0 {
                    first_failure.get_or_insert(tick.first);
                }
                if let Some(onset) = detector.observe(&tick) {
                    prop_assert!(Some(onset) >= first_failure);
                    prop_assert!(onset.hi_ns <= tick.at_ns);
                    break;
                }
            }
        }
    }
}
