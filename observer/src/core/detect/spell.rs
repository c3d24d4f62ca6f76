//! The intervals in which a fault line was active.

/// Quiet this long, a fault line is clear again.
pub const QUIET_NS: u64 = 10_000_000_000;

/// One interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// CLOCK_MONOTONIC of the first occurrence.
    pub onset_ns: u64,
    /// CLOCK_MONOTONIC of the last occurrence so far.
    pub last_ns: u64,
    /// Occurrences.
    pub count: u64,
}

/// The spells of one hit.
#[derive(Clone, Debug, Default)]
pub struct Spells {
    intervals: Vec<Interval>,
}

impl Spells {
    /// Enters occurrences between `first_ns` and `last_ns`.
    pub fn enter(&mut self, first_ns: u64, last_ns: u64, count: u64) {
        match self.intervals.last_mut() {
            Some(current) if first_ns.saturating_sub(current.last_ns) < QUIET_NS => {
                current.last_ns = current.last_ns.max(last_ns);
                current.count += count;
            }
            _ => self.intervals.push(Interval { onset_ns: first_ns, last_ns, count }),
        }
    }

    /// All of them, oldest first.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Whether the last one is still going on at `now_ns`.
    pub fn is_active(&self, now_ns: u64) -> bool {
        self.intervals.last().is_some_and(|last| now_ns.saturating_sub(last.last_ns) < QUIET_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_quiet_seconds_end_a_spell() {
        let mut spells = Spells::default();
        spells.enter(1_000, 2_000, 3);
        spells.enter(5_000, 6_000, 1);
        spells.enter(6_000 + QUIET_NS, 7_000 + QUIET_NS, 2);
        assert_eq!(
            spells.intervals(),
            [
                Interval { onset_ns: 1_000, last_ns: 6_000, count: 4 },
                Interval { onset_ns: 6_000 + QUIET_NS, last_ns: 7_000 + QUIET_NS, count: 2 },
            ]
        );
        assert!(spells.is_active(8_000 + QUIET_NS));
        assert!(!spells.is_active(7_000 + 2 * QUIET_NS));
    }
}
