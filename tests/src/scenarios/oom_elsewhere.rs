//! While a healthy service is tested, a process that has nothing to do with it is killed in a cgroup of its
//! own for want of memory.

use anyhow::{Result, ensure};

use super::{
    PORT, Scenario, light_load,
    oom_kill::{OOM_KILL, oom_truth},
};
use crate::{
    cgroup::{Cgroup, Controller},
    check::{Ending, Expect, check_clear},
    explain::elsewhere,
    report::Order,
    roles::{Role, serve::Serve, strain::Hog},
    stage::{PATIENCE, Stage},
    watch::Watch,
};

pub const SCENARIO: Scenario = Scenario {
    name: "oom_elsewhere",
    about: "a healthy run beside a process that is killed in an unrelated cgroup: listed under elsewhere",
    play,
};

const BYSTANDER: Expect = Expect { role: "bystander", ..OOM_KILL };
const MEMORY_LIMIT: u64 = 24 << 20;
const MIB_PER_S: u32 = 50;
const UNDER_WAY: u64 = 50;
const AND_ON: u64 = 200;

fn play(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve::on(PORT))?;
    let cgroup = Cgroup::make(Controller::Memory, "bystander")?;
    cgroup.limit_memory(MEMORY_LIMIT)?;
    let hog = Hog { cgroup: vec![cgroup.folder()], oom_score_adj: None, mib_per_s: MIB_PER_S };
    let mut hog = stage.prepare("hog", &Role::Hog(hog))?;
    let kills = Watch::start(cgroup.oom_kills())?;
    let mut load = stage.observe(&[], &light_load(&service))?;
    load.wait_for_done(UNDER_WAY)?;
    hog.order(Order::Resume)?;
    kills.wait_for(1, PATIENCE)?;
    load.wait_for_done(UNDER_WAY + AND_ON)?;
    let finished = load.finish()?;

    let truth = oom_truth(hog.pid(), &cgroup, &kills)?;
    truth.print();
    ensure!(finished.tally.errnos.is_empty(), "the load was not healthy: {:?}", finished.tally);
    let ending = check_clear(&finished)?;
    let Some(verdict) = &finished.verdict else { return Ok(ending) };
    BYSTANDER.check_hit(&truth, elsewhere(BYSTANDER.fault_line, &cgroup.name(), verdict)?, verdict)?;
    Ok(ending)
}
