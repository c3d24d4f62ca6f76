//! How often a cgroup is read.

const MS: u64 = 1_000_000;
/// A cgroup near the test that has a limit, and any that has just been held back.
const FAST_NS: u64 = 100 * MS;
/// One that is far from the test, or has been held back for long: it is known by then.
const MEDIUM_NS: u64 = 500 * MS;
/// One without a limit, which may be given one.
const SLOW_NS: u64 = 1_000 * MS;
/// Being held back is over when nothing was counted for so long.
const OVER_NS: u64 = 5_000 * MS;
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
        match self.began_ns {
            Some(began_ns) if now_ns.saturating_sub(began_ns) < NEWS_NS => FAST_NS,
            Some(_) => MEDIUM_NS,
            None if found.limited && near_the_test => FAST_NS,
            None if found.limited => MEDIUM_NS,
            None => SLOW_NS,
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
        assert_eq!(rhythm.rest_ns(1_000 * MS, held_back, false), FAST_NS);
        assert_eq!(rhythm.rest_ns(2_000 * MS, limited, false), FAST_NS, "it may go on");
        assert_eq!(rhythm.rest_ns(60_000 * MS, held_back, false), FAST_NS);
        assert_eq!(rhythm.rest_ns(61_000 * MS, held_back, true), MEDIUM_NS, "it goes on and on");
        assert_eq!(rhythm.rest_ns(67_000 * MS, limited, true), FAST_NS, "it is over");
        assert_eq!(rhythm.rest_ns(68_000 * MS, held_back, false), FAST_NS, "it is news again");
    }
}
