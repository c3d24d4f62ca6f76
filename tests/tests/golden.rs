//! Golden recordings: what the lab recorded once, judged by today's engine.
//!
//! Each folder of `tests/golden` holds a recording and what is expected of it. `OBSERVER_BLESS=1` writes
//! the expectations anew; read them before you commit them.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use observer::{
    core::{
        compare::{Change, Comparison, Difference, FirstChange, Judged, compare},
        engine::Engine,
        event::{Event, What},
        history::History,
        lines::LINES,
        snapshot::{Snapshot, State},
        verdict::{Hit, Verdict},
    },
    recording::Reader,
    sinks::report::{Format, Style, render},
};
use serde::{Deserialize, Serialize};

/// What matters of a verdict, in words that a reviewer can check.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Expected {
    outcome: String,
    first: Option<String>,
    /// Fault line, role, and what explains it, in onset order.
    hits: Vec<String>,
    elsewhere: Vec<String>,
    chain: Vec<String>,
    not_measurable: Vec<String>,
}

impl Expected {
    fn of(verdict: &Verdict) -> Self {
        Self {
            outcome: format!("{:?}", verdict.outcome).to_lowercase(),
            first: verdict.first.as_ref().map(|hit| hit.because.clone()),
            hits: verdict
                .hits
                .iter()
                .map(|hit| {
                    let role = format!("{:?}", hit.role).to_lowercase();
                    let explained = hit.explained_by.as_ref().map(|by| format!(", explained by {by}"));
                    format!("{} ({role}{})", hit.fault_line, explained.unwrap_or_default())
                })
                .collect(),
            elsewhere: verdict.elsewhere.iter().map(|hit| hit.fault_line.clone()).collect(),
            chain: verdict.chain.iter().map(|link| format!("{} -> {}", link.cause, link.effect)).collect(),
            not_measurable: verdict.not_measurable.iter().map(|note| note.fault_line.clone()).collect(),
        }
    }
}

fn judge(recording: &Path) -> Verdict {
    let reader = Reader::open(recording).expect("a recording");
    let mut engine = Engine::new(reader.header().clone());
    for frame in reader.frames() {
        engine.step(&frame.expect("a whole frame"));
    }
    engine.verdict(None)
}

fn folders() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(golden).expect("tests/golden").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "there are golden recordings");
    folders
}

#[test]
fn every_golden_recording_gives_its_verdict() {
    let bless = std::env::var_os("OBSERVER_BLESS").is_some();
    for folder in folders() {
        let verdict = judge(&folder.join("run.observer"));
        let (seen, file) = (Expected::of(&verdict), folder.join("expected.toml"));
        if bless {
            fs::write(&file, toml::to_string(&seen).expect("TOML")).expect("a writable folder");
        }
        let expected =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let expected: Expected = toml::from_str(&expected).expect("expected.toml");
        assert_eq!(seen, expected, "{}", folder.display());
    }
}

#[test]
fn the_same_recording_gives_the_same_bytes_a_hundred_times() {
    let folder = folders().remove(0);
    let bytes = || render(&judge(&folder.join("run.observer")), Format::Json, Style::default());
    let first = bytes();
    assert!((1..100).all(|_| bytes() == first));
}

fn compared(before: &str, after: &str) -> Comparison {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let judge = |name: &str| judge(&golden.join(name).join("run.observer"));
    let (earlier, later) = (judge(before), judge(after));
    compare(Judged { recording: before, verdict: &earlier }, Judged { recording: after, verdict: &later })
}

#[test]
fn a_run_compared_with_itself_has_not_moved() {
    let comparison = compared("trampoline_cascade_fd_accept", "trampoline_cascade_fd_accept");
    assert_eq!(comparison.first, FirstChange::Same);
    assert!(comparison.fault_lines.iter().all(|line| line.change == Change::Same), "{comparison:?}");
    assert!(comparison.limits.is_empty() && comparison.coverage.is_empty(), "{comparison:?}");
}

#[test]
fn the_same_fault_on_two_kernels_is_the_same_and_the_tiers_are_told() {
    let comparison = compared("tracepoint_cascade_fd_accept", "trampoline_cascade_fd_accept");
    assert_eq!(comparison.first, FirstChange::Same);
    assert!(comparison.differs.contains(&Difference::Kernel), "{:?}", comparison.differs);
    assert!(comparison.differs.contains(&Difference::Coverage), "{:?}", comparison.differs);
}

#[test]
fn what_no_longer_breaks_is_gone() {
    let comparison = compared("trampoline_cascade_fd_accept", "trampoline_negative_conntrack");
    let gone = comparison.fault_lines.iter().find(|line| line.fault_line == "fd_saturation");
    assert_eq!(gone.map(|line| line.change), Some(Change::Gone), "{comparison:?}");
}

/// A dashboard must not say of a fault line what the verdict does not.
#[test]
fn how_things_stand_at_the_end_is_what_the_verdict_says() {
    for folder in folders() {
        let reader = Reader::open(&folder.join("run.observer")).expect("a recording");
        let mut engine = Engine::new(reader.header().clone());
        let mut history = History::default();
        let mut onsets = 0;
        for frame in reader.frames() {
            let frame = frame.expect("a whole frame");
            let update = engine.step(&frame);
            let events = Event::of(&frame, &update, &engine);
            onsets += events.iter().filter(|event| matches!(event.what, What::Onset { .. })).count();
            if frame.seq % 2 == 0 {
                history.enter(&Snapshot::of(&engine));
            }
        }
        let (snapshot, verdict) = (Snapshot::of(&engine), engine.verdict(None));
        history.enter(&snapshot);
        for ((index, line), now) in LINES.iter().enumerate().zip(&snapshot.lines) {
            let is_of_line = |hit: &&Hit| hit.fault_line == line.id();
            let hit = verdict.hits.iter().any(|hit| is_of_line(&hit));
            let of_line = (folder.display(), line.id());
            let shown = matches!(now.state, State::Hit | State::Passed);
            assert!(shown == hit || line.needs_effect(), "{of_line:?}: {:?}", now.state);
            let seen: u64 = history.steps().iter().map(|step| step.lines[index].failures).sum();
            // Somebody may turn out to be a bystander only later.
            assert!(seen >= now.failures, "{of_line:?}: {seen} in the history, {} now", now.failures);
            let counted: u64 = verdict
                .hits
                .iter()
                .filter(is_of_line)
                .flat_map(|hit| &hit.spells)
                .map(|spell| spell.count)
                .sum();
            assert!(counted <= now.failures, "{of_line:?}: {counted} in the verdict, {} now", now.failures);
        }
        assert!(onsets >= verdict.hits.len(), "{}: {onsets} onsets in the log", folder.display());
    }
}
