//! `/proc/vmstat`: processes killed because memory ran out, on the whole host.
//!
//! It also counts a kill in the topmost cgroup of version 2, which has no count of its own.

use observer_common::Signal;

use super::{
    Clock, Pace, Samples, Source, Stopwatch, Window,
    error::SourceError,
    text::{self, Kept},
    world::World,
};
use crate::core::subject::Subject;

const FILE: &str = "/proc/vmstat";

/// Reads the file once a second; to print it, the kernel adds up all events of all CPUs.
#[derive(Debug)]
pub(super) struct Vmstat {
    pace: Pace,
    file: Kept,
    buffer: Vec<u8>,
}

impl Default for Vmstat {
    fn default() -> Self {
        Self { pace: Pace::every_ms(1_000).at_most_one_in(200), file: Kept::default(), buffer: Vec::new() }
    }
}

impl Source for Vmstat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn due(&self, now_ns: u64, _world: &World) -> bool {
        self.pace.is_due(now_ns)
    }

    fn read(
        &mut self,
        _world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let watch = Stopwatch::start(clock);
        let (window, text) = Window::around(clock, || self.file.read(FILE, &mut self.buffer));
        self.pace.ran_at(window.before_ns, watch.cost(clock));
        let kills = parse(text?).map_err(|problem| SourceError::malformed(FILE, problem))?;
        out.signal(Signal::OomKill, &Subject::HOST, kills, window);
        Ok(())
    }
}

/// The value of the line `oom_kill`, which every kernel from 4.13 on has.
fn parse(text: &str) -> Result<u64, String> {
    let [kills] = text::keyed(text, ["oom_kill"])?;
    kills.ok_or_else(|| "has no line oom_kill".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_line_is_found_by_its_name() {
        assert_eq!(parse("pgfault 17\noom_kill_other 9\noom_kill 3\ndrop_pagecache 0\n"), Ok(3));
        for damaged in ["", "oom_kill 3", "oom_kill\n", "oom_kill x\n", "some_oom_kill 3\n"] {
            assert!(parse(damaged).is_err(), "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(oom_kill|[ 0-9a-z\n]|\\PC){0,40}") {
            let _ = parse(&text);
        }
    }
}
