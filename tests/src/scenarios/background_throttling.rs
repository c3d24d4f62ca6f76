//! A helper in the service's own cgroup is throttled all the time, before the test as well as during it. The
//! service overflows because it is slow, for want of nothing: what was always so explains nothing.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, QUIET, Scenario,
    cpu_throttling::{CPU_THROTTLING, limit_at_rest},
    heavy_load, overflow_and_relent, overflow_truth, slow_service,
};
use crate::{
    cgroup::{Cgroup, Controller},
    check::Ending,
    explain::check_unexplained,
    label::Labeller,
    report::Order,
    roles::{Role, serve::Serve, strain::Burn},
    stage::{PATIENCE, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "background_throttling",
    about: "the service's cgroup was throttled long before the run: that explains no overflow",
    play,
};

/// Before observer is started.
const PERIODS_BEFORE: u64 = 5;

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Cpu, "service")?;
    let mut service = stage.serve("service", Serve { cgroup: vec![cgroup.folder()], ..slow_service() })?;
    let mut helper =
        stage.prepare("helper", &Role::Burn(Burn { cgroup: vec![cgroup.folder()], threads: 1 }))?;
    let throttled = limit_at_rest(&cgroup)?;
    let labeller = Labeller::start(service.pid)?;
    helper.order(Order::Resume)?;
    throttled.wait_for(PERIODS_BEFORE, PATIENCE)?;
    let mut load = stage.observe(&[], &heavy_load(&service))?;
    let before = throttled.count();
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let during = throttled.count() - before;
    // The service catches up with what waits, and nothing overflows when the load is taken down.
    drop(helper);
    throttled.wait_quiet(QUIET, PATIENCE)?;
    labeller.wait_quiet(QUIET, PATIENCE)?;
    let finished = load.finish()?;

    println!("  truth throttled in {before} periods before the load, in {during} during it");
    ensure!(during > 0, "it was no longer throttled during the load");
    let truth = overflow_truth(&service, &labeller.finish())?;
    let ending = ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    check_unexplained(ACCEPT_QUEUE_OVERFLOW.fault_line, verdict)?;
    ensure!(verdict.hit(CPU_THROTTLING.fault_line).is_none(), "what was always so is called a hit");
    let before: BTreeSet<_> = verdict.pre_existing.iter().map(|hit| hit.fault_line.as_str()).collect();
    ensure!(before.contains(CPU_THROTTLING.fault_line), "pre_existing lists {before:?}");
    Ok(ending)
}
