//! The instructions that the engine takes for golden recordings, counted by callgrind in observer-guard's `judge`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::limits::{Limits, Measure};
use crate::process;
use crate::tree::Tree;

/// One of a fault that led to others, and one of a healthy service with a connection per request.
const RECORDINGS: [&str; 2] = ["trampoline_negative_conntrack", "tracepoint_healthy_80_churn"];

/// What is counted, and the function of `judge` that does nothing else.
const PARTS: [(&str, &str); 2] = [("steps", "judge::guarded_steps*"), ("verdict", "judge::guarded_verdict*")];

/// Adds the instructions of each part for each recording.
pub fn count(tree: &Tree, limits: &mut Limits) -> Result<()> {
    let judge = tree.static_release("judge");
    for recording in RECORDINGS {
        let file = tree.root.join("tests/golden").join(recording).join("run.observer");
        for (part, function) in PARTS {
            let count = instructions(tree, function, &judge, &file)?;
            limits.add(Measure::EngineInstructions, &format!("{part} of {recording}"), count);
        }
    }
    Ok(())
}

/// How many instructions run within `function` and what it calls.
fn instructions(tree: &Tree, function: &str, judge: &Path, recording: &Path) -> Result<u64> {
    let profile = tree.target.join("guard.callgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", &format!("--toggle-collect={function}")]);
    valgrind.arg(format!("--callgrind-out-file={}", profile.display())).arg(judge).arg(recording);
    process::read(&mut valgrind)?;
    let text = fs::read_to_string(&profile).with_context(|| format!("{} is missing", profile.display()))?;
    total(&text).filter(|count| *count > 0).with_context(|| format!("callgrind saw no {function}"))
}

/// The sum of callgrind's profile: `totals: 123`.
fn total(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_found() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1) a\n1 2\n\ntotals: 4711\n"), Some(4711));
        assert_eq!(total("events: Ir\n"), None);
    }
}
