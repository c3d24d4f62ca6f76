//! Counts what passed, failed and was skipped, and closes with the line that CI reads.

use std::process::ExitCode;

use crate::progress::step;
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

/// All results so far.
pub struct Tally {
    expected: ExpectedSkips,
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Tally {
    /// Starts without results.
    pub fn new(expected: ExpectedSkips) -> Self {
        Self { expected, passed: 0, failed: Vec::new(), skipped: Vec::new() }
    }

    /// Counts a result and prints it.
    pub fn record(&mut self, place: &str, name: &str, outcome: Outcome) {
        if outcome == Outcome::Passed {
            step(format!("ok {place}:{name}"));
        }
        self.count(place, name, outcome);
    }

    /// Counts a result, and prints it only if it did not pass.
    pub fn count(&mut self, place: &str, name: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(reason) => self.fail(format!("{place}:{name}: {reason}")),
            Outcome::Skipped(reason) if self.expected.allows(place, name, &reason) => {
                step(format!("skip {place}:{name}: {reason}"));
                self.skipped.push(format!("{place}:{name}: {reason}"));
            }
            Outcome::Skipped(reason) => {
                self.fail(format!("{place}:{name}: skipped, which {LIST} does not expect: {reason}"));
            }
        }
    }

    /// How many results there are.
    pub fn total(&self) -> usize {
        self.passed + self.failed.len() + self.skipped.len()
    }

    /// How many failures there are.
    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    /// Prints what did not pass, and closes with the count on a line of its own.
    pub fn close(&self) -> ExitCode {
        list("skipped", &self.skipped);
        list("failed", &self.failed);
        println!("{}", self.closing_line());
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn closing_line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len())
    }

    fn fail(&mut self, what: String) {
        step(format!("FAIL {what}"));
        self.failed.push(what);
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
        let mut tally = Tally::new(ExpectedSkips::default());
        tally.record("host", "a", Outcome::Passed);
        tally.record("host", "b", Outcome::Skipped("not today".into()));
        tally.record("host", "c", Outcome::Failed("broken".into()));
        assert_eq!(tally.closing_line(), "1 passed, 2 failed, 0 skipped");
        assert_eq!(tally.close(), ExitCode::FAILURE);
    }
}
