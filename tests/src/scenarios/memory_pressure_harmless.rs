//! A service works at its memory limit all the time, and the kernel always finds pages that cost nothing to
//! take back. Nobody is hurt.

use anyhow::{Result, ensure};

use super::{PORT, Scenario, oom_kill::steady_load};
use crate::{
    cgroup::{Cgroup, Controller},
    check::{Ending, check_clear},
    roles::serve::Serve,
    stage::{PATIENCE, Stage},
    watch::Watch,
};

pub const SCENARIO: Scenario = Scenario {
    name: "memory_pressure_harmless",
    about: "a service runs against its memory limit, and reclaim always succeeds: clear",
    play,
};

const MEMORY_LIMIT: u64 = 32 << 20;
/// Half the limit each second, and more.
const SCRATCH_KIB: usize = 256;
const TIMES_AT_LIMIT: u64 = 50;
const ANSWERS: u64 = 400;

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Memory, "service")?;
    cgroup.limit_memory(MEMORY_LIMIT)?;
    let service = stage.serve(
        "service",
        Serve { cgroup: vec![cgroup.folder()], scratch_kib: SCRATCH_KIB, ..Serve::on(PORT) },
    )?;
    let kills = Watch::start(cgroup.oom_kills())?;
    let at_limit = Watch::start(cgroup.memory_max())?;
    let mut load = stage.observe(&[], &steady_load(&service))?;
    load.wait_for_done(ANSWERS)?;
    at_limit.wait_for(TIMES_AT_LIMIT, PATIENCE)?;
    let finished = load.finish()?;

    println!("  truth at its limit {} times, {} killed", at_limit.count(), kills.count());
    ensure!(kills.count() == 0, "{} processes were killed", kills.count());
    ensure!(finished.tally.errnos.is_empty(), "the load was not healthy: {:?}", finished.tally);
    check_clear(&finished)
}
