//! `cpu.stat` and the CPU quota of a cgroup.
//!
//! A quota is used up per period (`cpu.max`, of version 1 `cpu.cfs_quota_us` and `cpu.cfs_period_us`); the
//! kernel counts the periods that elapsed while the cgroup ran and those in which it was stopped.

use observer_common::Signal;

use super::{hierarchy::Version, place::Place, rhythm::Found};
use crate::sources::{Clock, Pace, Samples, Window, error::SourceError, text};

/// The name under which the quota is told, whatever its files are called.
const QUOTA: &str = "cpu.max";
/// How often the quota is read, and the periods of a cgroup near the test are told if nothing else happens.
const SLOW_MS: u64 = 1_000;
/// How often the periods of the others are told.
const FAR_MS: u64 = 10_000;

/// The signals that are told of a cgroup.
pub(super) const SIGNALS: [Signal; 3] =
    [Signal::CpuPeriods, Signal::CpuThrottledPeriods, Signal::CpuThrottledTime];

/// A cgroup as it was read last.
#[derive(Debug)]
pub(super) struct Cpu {
    quota: Pace,
    limited: bool,
    /// Whether the quota was ever told: that there is none is news only after one.
    quota_told: bool,
    throttled: Option<u64>,
    /// Periods, which elapse all the time, that were read and not told.
    held: Option<(u64, Window)>,
    telling: Pace,
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            quota: Pace::every_ms(SLOW_MS),
            limited: false,
            quota_told: false,
            throttled: None,
            held: None,
            telling: Pace::every_ms(SLOW_MS),
        }
    }
}

impl Cpu {
    /// Reads what is due and tells what is news.
    pub(super) fn read(
        &mut self,
        place: &Place<'_>,
        clock: Clock<'_>,
        buffer: &mut Vec<u8>,
        out: &mut Samples<'_>,
    ) -> Result<Found, SourceError> {
        let now_ns = clock();
        if self.quota.is_due(now_ns) {
            self.quota.ran(now_ns);
            // The topmost cgroup has none.
            if let Some(value) = place.if_there(read_quota(place, buffer))? {
                self.limited = !value.starts_with("max");
                self.quota_told |= self.limited;
                if self.quota_told {
                    place.tell_limit(QUOTA, value, out);
                }
            }
        }
        let (window, stat) = Window::around(clock, || place.read("cpu.stat", buffer).map(parse_stat));
        let Some(stat) = place.if_there(stat)? else { return Ok(Found::default()) };
        let Some(stat) = stat.map_err(|problem| place.malformed("cpu.stat", problem))? else {
            return Ok(Found::default());
        };
        let held_back = self.throttled.replace(stat.throttled).is_some_and(|before| before != stat.throttled);
        self.tell_periods(stat.periods, held_back, place, window, out);
        place.tell(Signal::CpuThrottledPeriods, stat.throttled, window, out);
        place.tell(Signal::CpuThrottledTime, stat.throttled_us, window, out);
        Ok(Found { limited: self.limited, held_back })
    }

    /// Tells the periods when it is time; when one of them was throttled also those before it, so that both
    /// are known for the same stretch of time.
    fn tell_periods(
        &mut self,
        periods: u64,
        held_back: bool,
        place: &Place<'_>,
        window: Window,
        out: &mut Samples<'_>,
    ) {
        if !held_back && !self.telling.is_due(window.before_ns) {
            self.held = Some((periods, window));
            return;
        }
        if let Some((before, window)) = self.held.take() {
            place.tell(Signal::CpuPeriods, before, window, out);
        }
        place.tell(Signal::CpuPeriods, periods, window, out);
        self.telling.set_interval_ms(if place.near_the_test { SLOW_MS } else { FAR_MS });
        self.telling.ran(window.before_ns);
    }
}

/// The quota as version 2 shows it: microseconds per period, or `max`, and the period.
fn read_quota(place: &Place<'_>, buffer: &mut Vec<u8>) -> Result<String, SourceError> {
    let mut line = |name| {
        let text = place.read(name, buffer)?;
        text::line(text).map(str::to_owned).map_err(|problem| place.malformed(name, problem))
    };
    match place.hierarchy.version {
        Version::Two => line("cpu.max"),
        Version::One => {
            let quota = line("cpu.cfs_quota_us")?;
            let quota = if quota.starts_with('-') { "max" } else { quota.as_str() };
            Ok(format!("{quota} {}", line("cpu.cfs_period_us")?))
        }
    }
}

/// What is of interest in `cpu.stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    periods: u64,
    throttled: u64,
    throttled_us: u64,
}

/// Reads `cpu.stat`; `None` where it says nothing of a quota, as that of the topmost cgroup.
fn parse_stat(text: &str) -> Result<Option<Stat>, String> {
    let names = ["nr_periods", "nr_throttled", "throttled_usec", "throttled_time"];
    let [periods, throttled, throttled_us, throttled_ns] = text::keyed(text, names)?;
    let Some(periods) = periods else { return Ok(None) };
    // Version 1 counts nanoseconds.
    let throttled_us = throttled_us.or(throttled_ns.map(|ns| ns / 1_000));
    Ok(Some(Stat {
        periods,
        throttled: throttled.ok_or("has no line nr_throttled")?,
        throttled_us: throttled_us.ok_or("has no line throttled_usec")?,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_are_read() {
        let one = "nr_periods 18\nnr_throttled 17\nthrottled_time 1234567890\nnr_bursts 0\nburst_time 0\n";
        let stat = Stat { periods: 18, throttled: 17, throttled_us: 1_234_567 };
        assert_eq!(parse_stat(one), Ok(Some(stat)));
        let two =
            "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 12\nnr_throttled 3\nthrottled_usec 77\n";
        let stat = Stat { periods: 12, throttled: 3, throttled_us: 77 };
        assert_eq!(parse_stat(two), Ok(Some(stat)));
        assert_eq!(parse_stat("usage_usec 9\n"), Ok(None));
        for damaged in ["nr_periods 18", "nr_periods 18\n", "nr_periods x\n"] {
            assert!(parse_stat(damaged).is_err(), "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(nr_periods |nr_throttled |[ 0-9a-z_\n]|\\PC){0,40}") {
            let _ = parse_stat(&text);
        }
    }
}
