//! The memory of a cgroup against its limit, and what happened there.
//!
//! `memory.events` of version 2 counts what happened in the cgroups below as well, so a kill would be counted
//! at each ancestor: `memory.events.local` (5.2 and later) is read where it is there, and says of which cgroup
//! the victim was, and whose limit was reached. Version 1 never counts for others.

use observer_common::Signal;

use super::{hierarchy::Version, place::Place, rhythm::Found};
use crate::{
    core::frame::Resource,
    sources::{Clock, Pace, Samples, Window, error::SourceError, text},
};

/// The name under which the limit is told, whatever its file is called.
const LIMIT: &str = "memory.max";
/// How often the limit is read.
const LIMIT_MS: u64 = 1_000;
/// How often failures at a limit are looked for where there is none.
const FAILED_MS: u64 = 10_000;
/// Version 1 shows the number of bytes that a machine can address where there is no limit.
const NO_LIMIT: u64 = 1 << 62;
/// Memory in use changes all the time. It is told when it moved by one in this many of the limit ...
const STEP: u64 = 256;
/// ... and at least by this ...
const STEP_BYTES: u64 = 1 << 20;
/// ... but never by more than one in this many of a small limit.
const SMALL_STEP: u64 = 16;

/// The signals that are told of a cgroup.
pub(super) const SIGNALS: [Signal; 3] = [Signal::OomKill, Signal::MemoryMax, Signal::MemoryHigh];

/// A cgroup as it was read last.
#[derive(Debug)]
pub(super) struct Memory {
    limit_pace: Pace,
    limit: Option<u64>,
    /// Whether the limit was ever told: that there is none is news only after one.
    limit_told: bool,
    /// When to look for failures at a limit where there is none.
    failed_pace: Pace,
    events: Option<Events>,
    /// Bytes and limit that were told last.
    told: Option<(u64, u64)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            limit_pace: Pace::every_ms(LIMIT_MS),
            limit: None,
            limit_told: false,
            failed_pace: Pace::every_ms(FAILED_MS),
            events: None,
            told: None,
        }
    }
}

/// What happened in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Events {
    oom_kill: u64,
    max: u64,
    /// Only version 2 has such a limit.
    high: Option<u64>,
}

impl Memory {
    /// Reads what is due and tells what is news.
    pub(super) fn read(
        &mut self,
        place: &Place<'_>,
        clock: Clock<'_>,
        buffer: &mut Vec<u8>,
        out: &mut Samples<'_>,
    ) -> Result<Found, SourceError> {
        let now_ns = clock();
        if self.limit_pace.is_due(now_ns) {
            self.limit_pace.ran(now_ns);
            // The topmost cgroup of version 2 has none of these files.
            self.limit = place.if_there(read_limit(place, buffer))?.flatten();
            let value = self.limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
            self.limit_told |= self.limit.is_some();
            if self.limit_told {
                place.tell_limit(LIMIT, value, out);
            }
        }
        self.read_level(place, clock, buffer, out)?;
        // Without a limit nothing fails at it, unless one came and went between two looks.
        let may_have_failed = self.limit.is_some() || self.failed_pace.is_due(now_ns);
        let failed = self.events.filter(|_| !may_have_failed).map(|events| events.max);
        if may_have_failed {
            self.failed_pace.ran(now_ns);
        }
        let (window, events) = Window::around(clock, || read_events(place, failed, buffer));
        let Some(events) = place.if_there(events)? else { return Ok(Found::default()) };
        place.tell(Signal::OomKill, events.oom_kill, window, out);
        if may_have_failed {
            place.tell(Signal::MemoryMax, events.max, window, out);
        }
        if let Some(high) = events.high {
            place.tell(Signal::MemoryHigh, high, window, out);
        }
        let held_back = self.events.replace(events).is_some_and(|before| before != events);
        Ok(Found { limited: self.limit.is_some(), held_back })
    }

    /// Reads the memory in use, if there is a limit to it.
    fn read_level(
        &mut self,
        place: &Place<'_>,
        clock: Clock<'_>,
        buffer: &mut Vec<u8>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let Some(limit) = self.limit else {
            if self.told.take().is_some() {
                let now_ns = clock();
                let window = Window { before_ns: now_ns, after_ns: now_ns };
                out.usage_ends(Resource::Memory, place.subject, 0, window);
            }
            return Ok(());
        };
        let (file, set_by) = match place.hierarchy.version {
            Version::Two => ("memory.current", "memory.max"),
            Version::One => ("memory.usage_in_bytes", "memory.limit_in_bytes"),
        };
        let (window, used) = Window::around(clock, || place.read(file, buffer).map(parse_bytes));
        let Some(used) = place.if_there(used)? else { return Ok(()) };
        let used = used.map_err(|problem| place.malformed(file, problem))?.unwrap_or(0);
        if self.is_news(used, limit) {
            self.told = Some((used, limit));
            out.usage(Resource::Memory, place.subject, used, Some((limit, set_by)), window);
        }
        Ok(())
    }

    /// Whether it is far enough from what was told.
    fn is_news(&self, used: u64, limit: u64) -> bool {
        let step = (limit / STEP).max(STEP_BYTES.min(limit / SMALL_STEP));
        self.told.is_none_or(|(told, told_limit)| told_limit != limit || told.abs_diff(used) >= step)
    }
}

/// The limit in bytes, if there is one.
fn read_limit(place: &Place<'_>, buffer: &mut Vec<u8>) -> Result<Option<u64>, SourceError> {
    let file = match place.hierarchy.version {
        Version::Two => "memory.max",
        Version::One => "memory.limit_in_bytes",
    };
    parse_bytes(place.read(file, buffer)?).map_err(|problem| place.malformed(file, problem))
}

/// Bytes; `None` for no limit.
fn parse_bytes(text: &str) -> Result<Option<u64>, String> {
    match text::line(text)? {
        "max" => Ok(None),
        number => text::number(number).map(|bytes| Some(bytes).filter(|bytes| *bytes < NO_LIMIT)),
    }
}

/// `failed` is what failed at the limit, where that need not be read again: version 1 counts it in files of its own.
fn read_events(place: &Place<'_>, failed: Option<u64>, buffer: &mut Vec<u8>) -> Result<Events, SourceError> {
    if place.hierarchy.version == Version::Two {
        let mut read = |file| {
            let events = parse_events(place.read(file, buffer)?);
            events.map_err(|problem| place.malformed(file, problem))
        };
        return match read("memory.events.local") {
            Err(error) if error.is_gone() => read("memory.events"),
            events => events,
        };
    }
    let control = "memory.oom_control";
    let oom_kill = parse_control(place.read(control, buffer)?);
    let oom_kill = oom_kill.map_err(|problem| place.malformed(control, problem))?;
    if let Some(max) = failed {
        return Ok(Events { oom_kill, max, high: None });
    }
    let mut failures = |file| {
        let count = text::numbers::<1>(place.read(file, buffer)?);
        count.map(|[count]| count).map_err(|problem| place.malformed(file, problem))
    };
    // Where memory and swap together have a limit, the kernel tries that one first, and counts apart.
    let with_swap = match failures("memory.memsw.failcnt") {
        Err(error) if error.is_gone() => 0,
        count => count?,
    };
    Ok(Events { oom_kill, max: failures("memory.failcnt")? + with_swap, high: None })
}

fn parse_events(text: &str) -> Result<Events, String> {
    let [oom_kill, max, high] = text::keyed(text, ["oom_kill", "max", "high"])?;
    Ok(Events {
        oom_kill: oom_kill.ok_or("has no line oom_kill")?,
        max: max.ok_or("has no line max")?,
        high: Some(high.ok_or("has no line high")?),
    })
}

/// The kills of `memory.oom_control`, which are shown from 4.13 on.
fn parse_control(text: &str) -> Result<u64, String> {
    let [oom_kill] = text::keyed(text, ["oom_kill"])?;
    oom_kill.ok_or_else(|| "has no line oom_kill".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_are_read() {
        let two = "low 0\nhigh 510\nmax 105\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(parse_events(two), Ok(Events { oom_kill: 2, max: 105, high: Some(510) }));
        assert_eq!(parse_control("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Ok(3));
        assert!(parse_control("oom_kill_disable 0\nunder_oom 0\n").is_err());
        assert!(parse_events("max 105\noom_kill 2").is_err());
    }

    #[test]
    fn no_limit_looks_different_in_each_version() {
        assert_eq!(parse_bytes("max\n"), Ok(None));
        assert_eq!(parse_bytes("9223372036854771712\n"), Ok(None));
        assert_eq!(parse_bytes("67108864\n"), Ok(Some(64 << 20)));
        assert!(parse_bytes("67108864").is_err());
    }

    #[test]
    fn memory_in_use_is_told_in_steps_that_suit_its_limit() {
        const MIB: u64 = 1 << 20;
        let told = |limit| Memory { told: Some((limit / 2, limit)), ..Memory::default() };
        for (limit, step) in [(4 * MIB, MIB / 4), (64 * MIB, MIB), (1_024 * MIB, 4 * MIB)] {
            assert!(!told(limit).is_news(limit / 2 + step - 1, limit), "{limit}");
            assert!(told(limit).is_news(limit / 2 + step, limit), "{limit}");
            assert!(told(limit).is_news(limit / 2 - step, limit), "{limit}");
            assert!(told(limit).is_news(limit / 2, limit + 1), "a new limit is news");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "(oom_kill |max |high |[ 0-9a-z_\n]|\\PC){0,40}") {
            let _ = parse_events(&text);
            let _ = parse_control(&text);
            let _ = parse_bytes(&text);
        }
    }
}
