//! How the sources are doing, told when it is news: ten reads a second that went as the one before say nothing,
//! and an hour of them would be a third of a recording.

use std::{collections::BTreeMap, mem};

use crate::core::frame::{Frame, SourceStatus};

/// How long a source that works as it did goes without being told of.
const TELL_EVERY_NS: u64 = 10_000_000_000;

/// Lets through what is news: an error that comes, changes or goes, and every ten seconds the slowest read since.
///
/// Whoever keeps the latest status of each source knows at every tick which ones fail and why, as if they had
/// been told of every read.
#[derive(Debug, Default)]
pub struct Statuses {
    sources: BTreeMap<String, Told>,
    everything: bool,
}

/// What was told of a source, and what has been seen since.
#[derive(Debug)]
struct Told {
    at_ns: u64,
    error: Option<String>,
    /// The slowest read since; `None` where there was none.
    slowest_ns: Option<u64>,
}

impl Statuses {
    /// Makes the next tick tell of every source, because it is the last one.
    pub fn tell_everything(&mut self) {
        self.everything = true;
    }

    /// Keeps of the frame's statuses what is news.
    pub fn keep_news(&mut self, frame: &mut Frame) {
        let now_ns = frame.mono_ns;
        for status in mem::take(&mut frame.sources) {
            frame.sources.extend(self.enter(now_ns, status));
        }
        if mem::take(&mut self.everything) {
            let rest = self.sources.iter_mut().filter_map(|(source, told)| told.tell(source, now_ns));
            frame.sources.extend(rest);
        }
    }

    fn enter(&mut self, now_ns: u64, status: SourceStatus) -> Option<SourceStatus> {
        let Some(told) = self.sources.get_mut(&status.source) else {
            let told = Told { at_ns: now_ns, error: status.error.clone(), slowest_ns: None };
            self.sources.insert(status.source.clone(), told);
            return Some(status);
        };
        told.slowest_ns = told.slowest_ns.max(Some(status.duration_ns));
        let is_news = told.error != status.error;
        told.error = status.error;
        let is_due = now_ns.saturating_sub(told.at_ns) >= TELL_EVERY_NS;
        if is_news || is_due { told.tell(&status.source, now_ns) } else { None }
    }
}

impl Told {
    /// The status since the last one that was told; `None` where there was no read since.
    fn tell(&mut self, source: &str, now_ns: u64) -> Option<SourceStatus> {
        let duration_ns = self.slowest_ns.take()?;
        self.at_ns = now_ns;
        Some(SourceStatus { source: source.to_owned(), duration_ns, error: self.error.clone() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::select};

    use super::*;
    use crate::core::{frame::RunHeader, ledger::Ledger};

    const TICK_NS: u64 = 100_000_000;

    fn status(source: &str, duration_ns: u64, error: Option<&str>) -> SourceStatus {
        SourceStatus { source: source.to_owned(), duration_ns, error: error.map(str::to_owned) }
    }

    /// What is told at each of these ticks.
    fn told(ticks: &[Vec<SourceStatus>]) -> Vec<Vec<SourceStatus>> {
        let mut statuses = Statuses::default();
        let frames = (0..).zip(ticks).map(|(seq, sources)| Frame {
            seq,
            mono_ns: seq * TICK_NS,
            sources: sources.clone(),
            ..Frame::default()
        });
        let keep_news = |mut frame: Frame| {
            statuses.keep_news(&mut frame);
            frame.sources
        };
        frames.map(keep_news).collect()
    }

    #[test]
    fn a_source_that_works_is_told_of_every_ten_seconds_with_its_slowest_read() {
        let ticks: Vec<_> = (0..250).map(|tick| vec![status("netstat", 1_000 + tick % 70, None)]).collect();
        let told = told(&ticks);
        let rows: Vec<_> = told.iter().enumerate().filter(|(_, sources)| !sources.is_empty()).collect();
        assert_eq!(rows.iter().map(|(tick, _)| *tick).collect::<Vec<_>>(), [0, 100, 200]);
        assert_eq!(rows[1].1, &[status("netstat", 1_069, None)]);
    }

    #[test]
    fn an_error_is_told_at_once_when_it_comes_changes_and_goes() {
        let ticks = [None, None, Some("no"), Some("no"), Some("never"), None, None];
        let ticks: Vec<_> = ticks.into_iter().map(|error| vec![status("owners", 5, error)]).collect();
        let told: Vec<_> = told(&ticks).into_iter().map(|mut sources| sources.pop()).collect();
        let told: Vec<_> = told.iter().map(|told| told.as_ref().map(|told| told.error.as_deref())).collect();
        assert_eq!(told, [Some(None), None, Some(Some("no")), None, Some(Some("never")), Some(None), None]);
    }

    #[test]
    fn the_last_tick_tells_what_was_held_back() {
        let mut statuses = Statuses::default();
        let mut tick = |sources: Vec<SourceStatus>, is_last: bool| {
            let mut frame = Frame { sources, ..Frame::default() };
            if is_last {
                statuses.tell_everything();
            }
            statuses.keep_news(&mut frame);
            frame.sources
        };
        tick(vec![status("psi", 1, None), status("snmp", 2, None)], false);
        tick(vec![status("psi", 9, None), status("snmp", 7, None)], false);
        let last = tick(vec![status("snmp", 3, None)], true);
        assert_eq!(last, [status("psi", 9, None), status("snmp", 7, None)]);
    }

    proptest! {
        #[test]
        fn the_engine_knows_the_same_failing_sources_at_every_tick(
            ticks in vec(vec((select(vec!["a", "b"]), 0..9_u64, option::of(select(vec!["x", "y"]))), 0..3), 0..200)
        ) {
            let ticks: Vec<Vec<_>> = ticks
                .into_iter()
                .map(|tick| tick.into_iter().map(|(source, ns, error)| status(source, ns, error)).collect())
                .collect();
            let header = serde_json::from_str::<RunHeader>(
                r#"{"id":"","observer_version":"","host":"","kernel":"","netns":null,"command":[],"targets":[],
                    "ignore":[],"plan":[],"coverage":[]}"#,
            )
            .expect("a header");
            let (mut all, mut news) = (Ledger::new(&header), Ledger::new(&header));
            for (read, told) in ticks.iter().zip(told(&ticks)) {
                prop_assert!(told.len() <= read.len());
                all.enter(&Frame { sources: read.clone(), ..Frame::default() });
                news.enter(&Frame { sources: told, ..Frame::default() });
                prop_assert_eq!(&all.failing, &news.failing);
            }
        }
    }
}
