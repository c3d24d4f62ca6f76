//! How often a cgroup is read.

const MS: u64 = 1_000_000;
/// A cgroup near the test that has a limit, unless that has held it back for long.
const FAST_NS: u64 = 100 * MS;
/// One with a limit that is far from the test.
const MEDIUM_NS: u64 = 500 * MS;
/// One without a limit, which may be given one, and one near the test that has been held back for long.
const SLOW_NS: u64 = 1_000 * MS;
/// One far from the test that has been held back for long.
const SLOWEST_NS: u64 = 5_000 * MS;
/// Being held back is over when nothing was counted for so long.
const OVER_NS: u64 = 6_000 * MS;
/// It is news for so long. A service may be throttled for days, and each read of one makes rows.
const NEWS_NS: u64 = 60_000 * MS;

/// What a read of a cgroup found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Whether it has a limit of its own.
    pub(super) limited: bool,
    /// Whether the limit held it back since the read before.
    pub(super) held_back: bool,
}

/// Remembers for how long a cgroup has been held back by its limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rhythm {
    began_ns: Option<u64>,
    latest_ns: u64,
}

impl Rhythm {
    /// How long to wait after a read at `now_ns`.
    pub(super) fn rest_ns(&mut self, now_ns: u64, found: Found, near_the_test: bool) -> u64 {
        if found.held_back {
            self.began_ns.get_or_insert(now_ns);
            self.latest_ns = now_ns;
        } else if now_ns.saturating_sub(self.latest_ns) > OVER_NS {
            self.began_ns = None;
        }
        let is_old = self.began_ns.is_some_and(|began_ns| now_ns.saturating_sub(began_ns) >= NEWS_NS);
        match (found.limited, is_old, near_the_test) {
            (_, true, false) => SLOWEST_NS,
            (_, true, true) | (false, ..) => SLOW_NS,
            (true, false, false) => MEDIUM_NS,
            (true, false, true) => FAST_NS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_news_is_read_fast_and_what_goes_on_is_not() {
        let mut rhythm = Rhythm::default();
        let limited = Found { limited: true, held_back: false };
        let held_back = Found { limited: true, held_back: true };
        assert_eq!(rhythm.rest_ns(0, Found::default(), true), SLOW_NS);
        assert_eq!(rhythm.rest_ns(0, limited, true), FAST_NS);
        assert_eq!(rhythm.rest_ns(0, limited, false), MEDIUM_NS);
        assert_eq!(rhythm.rest_ns(1_000 * MS, held_back, true), FAST_NS);
        assert_eq!(rhythm.rest_ns(59_000 * MS, held_back, false), MEDIUM_NS);
        assert_eq!(rhythm.rest_ns(62_000 * MS, held_back, true), SLOW_NS, "it goes on and on");
        assert_eq!(rhythm.rest_ns(62_000 * MS, held_back, false), SLOWEST_NS);
        assert_eq!(rhythm.rest_ns(67_000 * MS, limited, true), SLOW_NS, "it may go on");
        assert_eq!(rhythm.rest_ns(69_000 * MS, limited, true), FAST_NS, "it is over");
    }
}
