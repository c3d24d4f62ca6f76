//! The tests that cargo runs: unit, property and golden tests. With nextest if it is there, otherwise with cargo.

use std::ops::ControlFlow;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{self, Ending};
use crate::progress::step;
use crate::results::{Outcome, Tally};
use crate::setup;
use crate::toolchain;
use crate::tree::Tree;

const PLACE: &str = "unit";

/// Compiling included.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// A result in the output of a test runner.
type Parser = fn(&str) -> Option<(String, Outcome)>;

/// Compiles and runs the tests whose name contains the filter, and after them the examples in the documentation.
pub fn run(tree: &Tree, filter: Option<&str>, tally: &Tally) -> Result<()> {
    if let Err(error) = setup::http_clients(tree) {
        step(format!("the tests of the HTTP server will fail: {error:#}"));
    }
    let nextest = process::read(toolchain::cargo(tree)?.args(["nextest", "--version"])).is_ok();
    if nextest {
        drive(nextest_command(tree, filter)?, nextest_result, filter, tally)?;
    } else {
        step("cargo-nextest is not installed: running `cargo test`");
        drive(cargo_test_command(tree, "--all-targets", filter)?, cargo_test_result, filter, tally)?;
    }
    drive(cargo_test_command(tree, "--doc", filter)?, cargo_test_result, filter, tally)
}

/// Runs the tests of one command and counts them as they end.
fn drive(mut command: Command, parse: Parser, filter: Option<&str>, tally: &Tally) -> Result<()> {
    let before = (tally.total(), tally.failures());
    let ending = process::stream(&mut command, LIMIT, |line| {
        match parse(line) {
            // A test that the filter leaves out is not one that could not run.
            Some((_, Outcome::Skipped(_))) if filter.is_some() => {}
            Some((name, outcome)) => tally.count(PLACE, &name, outcome),
            None if line.trim().is_empty() => {}
            None => step(line),
        }
        ControlFlow::Continue(())
    })?;
    step(format!("{} tests ran", tally.total() - before.0));
    match ending {
        Ending::Exited(status) if status.success() || tally.failures() > before.1 => Ok(()),
        Ending::Exited(status) => bail!("`{}` ended with {status}", process::shown(&command)),
        _ => bail!("the tests did not end within {} minutes", LIMIT.as_secs() / 60),
    }
}

fn nextest_command(tree: &Tree, filter: Option<&str>) -> Result<Command> {
    let mut command = toolchain::cargo(tree)?;
    command
        .args(["nextest", "run", "--workspace", "--exclude", "observer-ebpf", "--color", "never"])
        .args(["--no-fail-fast", "--no-tests", "pass", "--show-progress", "none"])
        .args(["--status-level", "all", "--final-status-level", "none"])
        .args(filter);
    Ok(command)
}

fn cargo_test_command(tree: &Tree, targets: &str, filter: Option<&str>) -> Result<Command> {
    let mut command = toolchain::cargo(tree)?;
    command
        .args(["test", "--workspace", "--exclude", "observer-ebpf", "--color", "never"])
        .args(["--no-fail-fast", targets])
        .args(filter);
    Ok(command)
}

/// Understands `PASS [   0.004s] (1/9) package::binary test::name`.
fn nextest_result(line: &str) -> Option<(String, Outcome)> {
    let (status, rest) = line.trim_start().split_once(" [")?;
    let (_, rest) = rest.split_once("] ")?;
    let name = match rest.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((_, name)) => name,
        None => rest.trim_start(),
    };
    let outcome = match status {
        "PASS" | "LEAK" => Outcome::Passed,
        "SKIP" => Outcome::Skipped("ignored".to_owned()),
        "FAIL" | "LEAK-FAIL" | "TIMEOUT" | "ABORT" | "EXECFAIL" | "FAIL + LEAK" => {
            Outcome::Failed(status.to_lowercase())
        }
        signal if signal.starts_with("SIG") => Outcome::Failed(format!("ended by {signal}")),
        _ => return None,
    };
    Some((name.trim().to_owned(), outcome))
}

/// Understands `test module::name ... ok`.
fn cargo_test_result(line: &str) -> Option<(String, Outcome)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match result {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed("failed".to_owned()),
        ignored if ignored.starts_with("ignored") => Outcome::Skipped("ignored".to_owned()),
        _ => return None,
    };
    Some((name.to_owned(), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_is_understood() {
        let parsed = |line| nextest_result(line);
        let name = "observer core::engine::tests::first".to_owned();
        assert_eq!(
            parsed("        PASS [   0.004s] ( 1/10) observer core::engine::tests::first"),
            Some((name.clone(), Outcome::Passed))
        );
        assert_eq!(
            parsed("        FAIL [   0.004s] observer core::engine::tests::first"),
            Some((name.clone(), Outcome::Failed("fail".into())))
        );
        assert_eq!(
            parsed("     SIGABRT [   0.1s] (2/10) observer core::engine::tests::first"),
            Some((name.clone(), Outcome::Failed("ended by SIGABRT".into())))
        );
        assert_eq!(
            parsed("        SKIP [         ] observer core::engine::tests::first"),
            Some((name, Outcome::Skipped("ignored".into())))
        );
        assert_eq!(parsed("     Summary [   0.010s] 10 tests run: 10 passed, 0 skipped"), None);
        assert_eq!(parsed("        SLOW [> 60.000s] observer core::engine::tests::first"), None);
    }

    #[test]
    fn cargo_test_is_understood() {
        assert_eq!(cargo_test_result("test a::b ... ok"), Some(("a::b".into(), Outcome::Passed)));
        assert_eq!(
            cargo_test_result("test a::b ... ignored, needs a printer"),
            Some(("a::b".into(), Outcome::Skipped("ignored".into())))
        );
        assert_eq!(cargo_test_result("test result: ok. 3 passed; 0 failed"), None);
    }
}
