//! A service whose requests cost more CPU time than its cgroup is allowed. Nothing overflows: all clients
//! fit into the accept queue, and wait.

use anyhow::{Result, ensure};

use super::{PLATEAU, PORT, Scenario};
use crate::{
    cgroup::{Cgroup, Controller},
    check::{Count, Ending, Expect, Place, Truth},
    counters::Counter,
    label::Labeller,
    roles::{Role, load::Load, serve::Serve},
    stage::{PATIENCE, Stage},
    watch::Watch,
};

pub const SCENARIO: Scenario = Scenario {
    name: "cpu_throttling",
    about: "requests need more CPU time than the service's quota allows; it is throttled in every period",
    play,
};

pub const CPU_THROTTLING: Expect =
    Expect { fault_line: "cpu_throttling", role: "target", deciding: &["cpu_throttled_periods"] };
/// A tenth of a CPU: little enough to be used up where others want the CPUs as well.
const QUOTA_US: u64 = 10_000;
/// Forty requests a second at that.
pub const BURN_US: u64 = 2_500;
/// Two and a half seconds.
const PERIODS: u64 = 25;
const CLIENTS: u32 = 8;

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Cpu, "service")?;
    let mut service = stage
        .serve("service", Serve { cgroup: vec![cgroup.folder()], burn_us: BURN_US, ..Serve::on(PORT) })?;
    let throttled = limit_at_rest(&cgroup)?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS,
            think_ms: 5,
            ..Load::to(service.address())
        }),
    )?;
    throttled.wait_for(PERIODS, PATIENCE)?;
    // So that the end of the run is quiet, and counts taken a little later are the same.
    load.relent()?;
    service.relent()?;
    throttled.wait_quiet(PLATEAU, PATIENCE)?;
    let finished = load.finish()?;
    ensure!(labeller.finish().count(Counter::ListenOverflows) == 0, "the accept queue overflowed");
    println!("  truth {} requests were answered", finished.tally.done);
    CPU_THROTTLING.check_first(&throttling_truth(&cgroup, &throttled)?, &finished)
}

/// Sets the quota of a cgroup whose service has started, and begins to watch when nothing in it is throttled.
///
/// Where everything is slow, its threads may still be starting: that is before the run, and none of its faults.
pub fn limit_at_rest(cgroup: &Cgroup) -> Result<Watch> {
    cgroup.limit_cpu(QUOTA_US)?;
    Watch::start(cgroup.throttled_periods())?.wait_quiet(PLATEAU, PATIENCE)?;
    Watch::start(cgroup.throttled_periods())
}

/// The truth about a cgroup that was throttled.
pub fn throttling_truth(cgroup: &Cgroup, throttled: &Watch) -> Result<Truth> {
    Ok(Truth {
        onset: throttled.onset()?,
        place: Place { cgroup: Some(cgroup.name()), ..Place::default() },
        counts: vec![Count::of(&["cpu_throttled_periods"]).kernel_says("nr_throttled", throttled.count())],
    })
}
