//! The verdict is a function of the recording: a hundred reports of one recording are the same bytes, and
//! say what the run itself said.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{Scenario, heavy_load, overflow_and_relent, slow_service};
use crate::{check::Ending, label::Labeller, stage::Stage, verdict::Verdict};

pub const SCENARIO: Scenario = Scenario {
    name: "determinism",
    about: "a hundred reports of one recording are the same bytes, and agree with the run",
    play,
};

const REPORTS: usize = 100;

fn play(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    let recording = stage.recording_path();
    let mut service = stage.serve("service", slow_service())?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(&[], &heavy_load(&service))?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let finished = load.finish()?;

    let first = report(observer, &recording)?;
    for number in 2..=REPORTS {
        ensure!(report(observer, &recording)? == first, "report {number} differs from the first one");
    }
    println!("  {REPORTS} reports of {} bytes are the same", first.len());
    let reported = Verdict::parse(&first).context("the report")?;
    let said = finished.verdict.context("there is a verdict")?;
    ensure!(said.first.is_some(), "the run found nothing");
    ensure!(reported.first == said.first, "the report has another first hit than the run");
    ensure!(reported.hits == said.hits, "the report has other hits than the run");
    Ok(Ending::Ok)
}

/// The verdict of a recording, as JSON.
pub fn report(observer: &Path, recording: &Path) -> Result<Vec<u8>> {
    let output = Command::new(observer)
        .arg("report")
        .arg(recording)
        .args(["--format", "json"])
        .output()
        .context("cannot start observer report")?;
    ensure!(
        output.status.success(),
        "observer report ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
