//! `cargo xtask guard`: what can be counted instead of timed, held against what was committed. The instructions that
//! the engine takes for recordings, those of the programs in the kernel, and the memory of their maps.
//!
//! They are counted in the static binaries that the lab runs: with musl no count depends on what the processor offers,
//! and `cargo xtask test` builds them anyway.

mod engine;
mod kernel_side;
mod limits;

use std::env;
use std::process::ExitCode;

use anyhow::Result;

use self::limits::{Limits, Measure};
use crate::build;
use crate::matrix::skipped;
use crate::progress::{stage, step};
use crate::results::{Outcome, Tally};
use crate::setup;
use crate::skips::ExpectedSkips;
use crate::tree::Tree;

const PLACE: &str = "guard";

/// Makes it write down what it counts, as the golden tests do.
const BLESS: &str = "OBSERVER_BLESS";

/// Runs `cargo xtask guard`.
pub fn run(tree: &Tree) -> Result<ExitCode> {
    stage("set-up", || setup::building(tree).and_then(|()| setup::static_binaries(tree)))?;
    stage("build", || build::static_binaries(tree))?;
    if env::var_os(BLESS).is_some() {
        stage("guard: bless", || bless(tree))?;
        return Ok(ExitCode::SUCCESS);
    }
    let tally = Tally::new(ExpectedSkips::read(tree)?);
    tally.stage(PLACE, "all", || hold(tree, &tally));
    Ok(tally.close())
}

/// Runs the guard as a part of the tests. Where there can be no static binaries, it is skipped as one.
pub fn check(tree: &Tree, tally: &Tally) -> Result<()> {
    if let Err(error) = setup::static_binaries(tree) {
        tally.record(PLACE, "all", skipped(&error));
        return Ok(());
    }
    build::static_binaries(tree)?;
    hold(tree, tally)
}

/// Counts, and holds each measure against the committed one.
fn hold(tree: &Tree, tally: &Tally) -> Result<()> {
    let committed = Limits::read(tree)?;
    let mut seen = Limits::default();
    kernel_side::count(tree, &mut seen)?;
    match setup::instruction_counts(tree) {
        Ok(()) => engine::count(tree, &mut seen)?,
        Err(error) => tally.record(PLACE, Measure::EngineInstructions.name(), skipped(&error)),
    }
    for measure in Measure::ALL.iter().filter(|measure| seen.has(**measure)) {
        let judged = committed.judge(&seen, *measure);
        judged.told.iter().for_each(step);
        let outcome = if judged.failures.is_empty() {
            Outcome::Passed
        } else {
            Outcome::Failed(format!(
                "{}. If that is meant: `{BLESS}=1 cargo xtask guard` writes {} anew",
                judged.failures.join("; "),
                limits::FILE
            ))
        };
        tally.record(PLACE, measure.name(), outcome);
    }
    Ok(())
}

fn bless(tree: &Tree) -> Result<()> {
    let mut seen = Limits::default();
    kernel_side::count(tree, &mut seen)?;
    setup::instruction_counts(tree)?;
    engine::count(tree, &mut seen)?;
    seen.write(tree)?;
    step(format!("{} is rewritten: read the difference before you commit it", limits::FILE));
    Ok(())
}
