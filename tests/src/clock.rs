//! The clock that faults are labelled on, and the interval a label is.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// CLOCK_MONOTONIC in nanoseconds: the clock of the kernel's own stamps and of `run.clock.mono_ns`.
pub fn mono_ns() -> u64 {
    // CLOCK_MONOTONIC exists on every kernel; zero would fail every onset check rather than pass one.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        let now = Duration::from(now);
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// An interval that is known to contain an instant: not before `from_ns`, not after `to_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// CLOCK_MONOTONIC, inclusive.
    pub from_ns: u64,
    /// CLOCK_MONOTONIC, inclusive.
    pub to_ns: u64,
}

impl Bracket {
    /// Does `work` and brackets it.
    pub fn around<T>(work: impl FnOnce() -> T) -> (T, Self) {
        let from_ns = mono_ns();
        let done = work();
        (done, Self { from_ns, to_ns: mono_ns() })
    }

    /// How far `instant_ns` lies outside, with its sign: negative when it is too early, 0 when inside.
    pub fn distance_ns(&self, instant_ns: u64) -> i64 {
        let gap = |later: u64, earlier: u64| i64::try_from(later - earlier).unwrap_or(i64::MAX);
        if instant_ns < self.from_ns {
            -gap(self.from_ns, instant_ns)
        } else if instant_ns > self.to_ns {
            gap(instant_ns, self.to_ns)
        } else {
            0
        }
    }

    /// Whether the two intervals share an instant.
    pub fn intersects(&self, other: &Self) -> bool {
        self.from_ns <= other.to_ns && other.from_ns <= self.to_ns
    }

    /// Width of the interval.
    pub fn width(&self) -> Duration {
        Duration::from_nanos(self.to_ns.saturating_sub(self.from_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::Bracket;

    const LABEL: Bracket = Bracket { from_ns: 100, to_ns: 200 };

    #[test]
    fn distance_has_the_sign_of_the_error() {
        assert_eq!(LABEL.distance_ns(90), -10);
        assert_eq!(LABEL.distance_ns(100), 0);
        assert_eq!(LABEL.distance_ns(200), 0);
        assert_eq!(LABEL.distance_ns(215), 15);
    }

    #[test]
    fn touching_intervals_intersect() {
        assert!(LABEL.intersects(&Bracket { from_ns: 200, to_ns: 300 }));
        assert!(LABEL.intersects(&Bracket { from_ns: 0, to_ns: 100 }));
        assert!(!LABEL.intersects(&Bracket { from_ns: 201, to_ns: 300 }));
        assert!(!LABEL.intersects(&Bracket { from_ns: 0, to_ns: 99 }));
    }
}
