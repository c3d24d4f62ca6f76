//! Counts what passed, failed and was skipped, and closes with the line that CI reads.

use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::progress::{stage, step};
use crate::skips::{ExpectedSkips, LIST};

/// How one test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should, because of this.
    Failed(String),
    /// It could not run, because of this.
    Skipped(String),
}

/// All results so far. Several threads may add to them.
pub struct Tally {
    expected: ExpectedSkips,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Tally {
    /// Starts without results.
    pub fn new(expected: ExpectedSkips) -> Self {
        Self { expected, counted: Mutex::default() }
    }

    /// Runs a stage; if it fails as a whole, that is one failure, and the rest goes on.
    pub fn stage(&self, place: &str, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        let result = stage(&format!("{place}: {name}"), work);
        if let Err(error) = &result {
            self.record(place, name, Outcome::Failed(format!("{error:#}")));
        }
        result.is_ok()
    }

    /// Counts a result and prints it.
    pub fn record(&self, place: &str, name: &str, outcome: Outcome) {
        if outcome == Outcome::Passed {
            step(format!("ok {place}:{name}"));
        }
        self.count(place, name, outcome);
    }

    /// Counts a result, and prints it only if it did not pass.
    pub fn count(&self, place: &str, name: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.counted().passed += 1,
            Outcome::Failed(reason) => self.fail(format!("{place}:{name}: {reason}")),
            Outcome::Skipped(reason) if self.expected.allows(place, name, &reason) => {
                step(format!("skip {place}:{name}: {reason}"));
                self.counted().skipped.push(format!("{place}:{name}: {reason}"));
            }
            Outcome::Skipped(reason) => {
                self.fail(format!("{place}:{name}: skipped, which {LIST} does not expect: {reason}"));
            }
        }
    }

    /// How many results there are.
    pub fn total(&self) -> usize {
        let counted = self.counted();
        counted.passed + counted.failed.len() + counted.skipped.len()
    }

    /// How many failures there are.
    pub fn failures(&self) -> usize {
        self.counted().failed.len()
    }

    /// Prints what did not pass, and closes with the count on a line of its own.
    pub fn close(&self) -> ExitCode {
        let counted = self.counted();
        list("skipped", &counted.skipped);
        list("failed", &counted.failed);
        println!("{}", counted.closing_line());
        if counted.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn fail(&self, what: String) {
        step(format!("FAIL {what}"));
        self.counted().failed.push(what);
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // What was counted before a thread died is still true.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn closing_line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len())
    }
}

fn list(title: &str, entries: &[String]) {
    if !entries.is_empty() {
        println!("==> {title}");
    }
    for entry in entries {
        step(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_that_nobody_expects_is_a_failure() {
        let tally = Tally::new(ExpectedSkips::default());
        tally.record("host", "a", Outcome::Passed);
        tally.record("host", "b", Outcome::Skipped("not today".into()));
        tally.record("host", "c", Outcome::Failed("broken".into()));
        assert_eq!(tally.counted().closing_line(), "1 passed, 2 failed, 0 skipped");
        assert_eq!(tally.close(), ExitCode::FAILURE);
    }
    #[test]
    fn a_stage_that_fails_is_one_failure() {
        let tally = Tally::new(ExpectedSkips::default());
        assert!(tally.stage("host", "a", || Ok(())));
        assert!(!tally.stage("host", "b", || anyhow::bail!("broken")));
        assert_eq!(tally.counted().failed, ["host:b: broken"]);
    }
}
