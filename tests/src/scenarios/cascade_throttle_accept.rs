//! A service is throttled, so it accepts too rarely, so its accept queue overflows: one cause, one effect.

use anyhow::{Context, Result, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, PORT, QUIET, Scenario,
    cpu_throttling::{BURN_US, CPU_THROTTLING, limit_at_rest, throttling_truth},
    overflow_and_relent, overflow_truth,
};
use crate::{
    cgroup::{Cgroup, Controller},
    check::Ending,
    explain::check_edge,
    label::Labeller,
    roles::{Role, load::Load, serve::Serve},
    stage::{PATIENCE, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "cascade_throttle_accept",
    about: "a service that is throttled accepts too rarely, and its accept queue overflows",
    play,
};

/// The first clients fit the quota, the next ones exceed it, and only ten and more the queue.
const CLIENTS: u32 = 30;
const RAMP_MS: u64 = 3000;
const BACKLOG: u16 = 8;
/// Throttling that is beyond doubt.
const PERIODS: u64 = 20;

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Cpu, "service")?;
    let options =
        Serve { cgroup: vec![cgroup.folder()], burn_us: BURN_US, backlog: BACKLOG, ..Serve::on(PORT) };
    let mut service = stage.serve("service", options)?;
    let throttled = limit_at_rest(&cgroup)?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS,
            ramp_ms: RAMP_MS,
            think_ms: 20,
            connect_timeout_ms: 100,
            ..Load::to(service.address())
        }),
    )?;
    throttled.wait_for(PERIODS, PATIENCE)?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    throttled.wait_quiet(QUIET, PATIENCE)?;
    let finished = load.finish()?;

    let cause = throttling_truth(&cgroup, &throttled)?;
    let effect = overflow_truth(&service, &labeller.finish())?;
    effect.print();
    ensure!(cause.onset.to_ns < effect.onset.from_ns, "the overflow came before its cause");
    let ending = CPU_THROTTLING.check_first(&cause, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    check_edge(CPU_THROTTLING.fault_line, ACCEPT_QUEUE_OVERFLOW.fault_line, verdict)?;
    let hit = verdict.hit(ACCEPT_QUEUE_OVERFLOW.fault_line).context("the overflow is not among the hits")?;
    ACCEPT_QUEUE_OVERFLOW.check_hit(&effect, hit, verdict)?;
    Ok(ending)
}
