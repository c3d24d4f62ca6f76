//! The accept queue of a slow service overflows, while a neighbour in another cgroup is throttled. The one
//! has nothing to do with the other.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, Scenario,
    cpu_throttling::{CPU_THROTTLING, limit_at_rest, throttling_truth},
    overflow_and_relent, overflow_truth, slow_service,
};
use crate::{
    cgroup::{Cgroup, Controller},
    check::{Ending, Expect},
    explain::{check_unexplained, elsewhere},
    label::Labeller,
    report::Order,
    roles::{Role, load::Load, strain::Burn},
    stage::{PATIENCE, Stage},
    verdict::Verdict,
};

pub const SCENARIO: Scenario = Scenario {
    name: "negative_throttle_accept",
    about: "a slow service overflows while an unrelated cgroup is throttled: no link between them",
    play,
};

const BYSTANDER: Expect = Expect { role: "bystander", ..CPU_THROTTLING };
const CLIENTS: u32 = 32;
/// Long enough that the neighbour is throttled first.
const RAMP_MS: u64 = 2000;
const PERIODS: u64 = 20;

/// Observer looks once a second at cgroups that are far from the test.
const SEEN: Duration = Duration::from_millis(1500);

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Cpu, "bystander")?;
    let mut neighbour =
        stage.prepare("neighbour", &Role::Burn(Burn { cgroup: vec![cgroup.folder()], threads: 2 }))?;
    let throttled = limit_at_rest(&cgroup)?;
    let mut service = stage.serve("service", slow_service())?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS,
            ramp_ms: RAMP_MS,
            connect_timeout_ms: 100,
            ..Load::to(service.address())
        }),
    )?;
    neighbour.order(Order::Resume)?;
    throttled.wait_for(PERIODS, PATIENCE)?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    // So that its count is the same for all who look from now on.
    drop(neighbour);
    throttled.wait_quiet(SEEN, PATIENCE)?;
    let finished = load.finish()?;

    let mut apart = throttling_truth(&cgroup, &throttled)?;
    // A cgroup far from the test is read from its first throttling on: a counter does not tell of that one.
    let by_probe = |verdict: &Verdict| verdict.tier("cpu_throttled_periods").is_probe();
    if !finished.verdict.as_ref().is_some_and(by_probe) {
        apart.counts.clear();
    }
    let truth = overflow_truth(&service, &labeller.finish())?;
    apart.print();
    ensure!(apart.onset.to_ns < truth.onset.from_ns, "the neighbour was throttled too late to tempt anyone");
    let ending = ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    check_unexplained(ACCEPT_QUEUE_OVERFLOW.fault_line, verdict)?;
    BYSTANDER.check_hit(&apart, elsewhere(BYSTANDER.fault_line, &cgroup.name(), verdict)?, verdict)?;
    Ok(ending)
}
