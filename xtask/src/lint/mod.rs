//! The lints. Each is one result of `cargo xtask test`.

mod ignored;
mod machine_paths;
mod pictures;
mod purity;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::process;
use crate::progress::stage;
use crate::results::{Outcome, Tally};
use crate::setup;
use crate::skips::ExpectedSkips;
use crate::toolchain;
use crate::tree::Tree;

const PLACE: &str = "lint";

type Lint = fn(&Tree) -> Result<Outcome>;

/// Runs `cargo xtask lint`.
pub fn run(tree: &Tree) -> Result<ExitCode> {
    let tally = Tally::new(ExpectedSkips::read(tree)?);
    stage("set-up", || setup::building(tree))?;
    stage("lint", || all(tree, &tally))?;
    Ok(tally.close())
}

/// Runs all lints, the quick ones first.
pub fn all(tree: &Tree, tally: &Tally) -> Result<()> {
    let lints: [(&str, Lint); 7] = [
        ("format", format),
        ("purity", purity),
        ("machine-paths", machine_paths),
        ("ignored-tests", ignored_tests),
        ("pictures", pictures),
        ("cargo-deny", deny),
        ("clippy", clippy),
    ];
    for (name, lint) in lints {
        let outcome = lint(tree).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        tally.record(PLACE, name, outcome);
    }
    Ok(())
}

fn format(tree: &Tree) -> Result<Outcome> {
    judge(toolchain::cargo(tree)?.args(["fmt", "--all", "--check"]), "run `cargo fmt --all`")
}

/// observer-ebpf is built for another target; observer's build script compiles it.
fn clippy(tree: &Tree) -> Result<Outcome> {
    let mut command = toolchain::cargo(tree)?;
    command.args(["clippy", "--workspace", "--exclude", "observer-ebpf", "--all-targets"]);
    judge(command.args(["--", "-D", "warnings"]), "clippy's own words are above")
}

fn purity(tree: &Tree) -> Result<Outcome> {
    Ok(none_of(&purity::check(&tree.root.join("observer/src"))?))
}

fn machine_paths(tree: &Tree) -> Result<Outcome> {
    Ok(none_of(&machine_paths::check(&tree.root)?))
}

fn ignored_tests(tree: &Tree) -> Result<Outcome> {
    Ok(none_of(&ignored::check(&tree.root, &ExpectedSkips::read(tree)?)?))
}

fn pictures(tree: &Tree) -> Result<Outcome> {
    Ok(none_of(&pictures::check(&tree.root)?))
}

fn deny(tree: &Tree) -> Result<Outcome> {
    if process::read(toolchain::cargo(tree)?.args(["deny", "--version"])).is_err() {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    // It reads the licences of what is never built here too: crates for other systems.
    process::run(toolchain::cargo(tree)?.args(["fetch", "--quiet", "--locked"]))?;
    let mut command = toolchain::cargo(tree)?;
    command.args(["deny", "--offline", "--log-level", "warn", "check", "licenses", "bans", "sources"]);
    judge(&mut command, "cargo-deny's own words are above")
}

/// A program that judges by its exit status, and says why on the terminal.
fn judge(command: &mut Command, hint: &str) -> Result<Outcome> {
    Ok(match process::run(command) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{error:#}: {hint}")),
    })
}

fn none_of(findings: &[String]) -> Outcome {
    if findings.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("\n      {}", findings.join("\n      ")))
    }
}
