//! The rate limit of the web configuration: a token bucket, over all who ask.

use std::time::Instant;

use super::config::RateLimit;

/// How full the bucket is, told by when it will be full: no tokens need be counted.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token, if there is one.
    pub fn take(&mut self, limit: RateLimit, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        // Full is `burst` tokens, and each takes an interval to come back.
        let missing = full_at - now;
        let room = limit.interval.saturating_mul(limit.burst - 1);
        let allowed = missing <= room;
        if allowed {
            self.full_at = full_at.checked_add(limit.interval);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let limit = RateLimit { interval: Duration::from_secs(1), burst: 3 };
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let mut at = |millis| bucket.take(limit, start + Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(900), at(1000), at(1001), at(2000)], [false, true, false, true]);
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [true, true, true, false]);
    }

    #[test]
    fn an_interval_beyond_all_clocks_is_harmless() {
        let limit = RateLimit { interval: Duration::MAX, burst: u32::MAX };
        let mut bucket = Bucket::default();
        assert!(bucket.take(limit, Instant::now()));
    }
}
