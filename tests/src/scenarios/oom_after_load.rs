//! The load is over, and only then the service's cgroup runs out of memory: the secondary collapse that
//! `--settle` is there for.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    PORT, Scenario,
    oom_kill::{MEMORY_LIMIT, OOM_KILL, oom_truth, steady_load},
};
use crate::{
    cgroup::{Cgroup, Controller},
    check::Ending,
    clock::mono_ns,
    roles::serve::Serve,
    stage::{PATIENCE, Stage},
    watch::Watch,
};

pub const SCENARIO: Scenario = Scenario {
    name: "oom_after_load",
    about: "the service is killed for want of memory seconds after the load has ended: found, in recovery",
    play,
};

const SETTLE: &str = "6s";
/// A load of about two seconds.
const ANSWERS: u64 = 250;
/// From the end of the load until memory grows.
const CALM: Duration = Duration::from_millis(1200);

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Memory, "service")?;
    cgroup.limit_memory(MEMORY_LIMIT)?;
    let mut service = stage.serve("service", Serve { cgroup: vec![cgroup.folder()], ..Serve::on(PORT) })?;
    let kills = Watch::start(cgroup.oom_kills())?;
    let mut load = stage.observe(&["--settle", SETTLE], &steady_load(&service))?;
    load.wait_for_done(ANSWERS)?;
    let tally = load.stop()?;
    let ended_ns = mono_ns();
    thread::sleep(CALM);
    service.swell()?;
    kills.wait_for(1, PATIENCE)?;
    let finished = load.judge(tally)?;

    let truth = oom_truth(service.pid, &cgroup, &kills)?;
    println!("  truth killed {:.3} s after the end of the load", seconds(ended_ns, truth.onset.from_ns));
    ensure!(finished.tally.errnos.is_empty(), "the load was not healthy: {:?}", finished.tally);
    let ending = OOM_KILL.check_first(&truth, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    let first = verdict.first.as_ref().context("nothing is first")?;
    ensure!(first.phase.as_deref() == Some("recovery"), "it is said to be in phase {:?}", first.phase);
    ensure!(verdict.onset_ns(first) > ended_ns, "it is said to have begun before the load ended");
    Ok(ending)
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}
