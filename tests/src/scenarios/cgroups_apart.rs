//! The service lives in a network namespace and a cgroup that are not observer's; the hit names both.

use std::{fs, path::Path, process};

use anyhow::{Context, Result};

use super::{ACCEPT_QUEUE_OVERFLOW, Scenario, heavy_load, overflow_and_relent, overflow_truth, slow_service};
use crate::{check::Ending, cleanup::Guard, label::Labeller, roles::serve::Serve, stage::Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "cgroups_apart",
    about: "an overflow in another network namespace and cgroup than observer's: the hit names both",
    play,
};

const ROOT: &str = "/sys/fs/cgroup";

fn play(stage: &Stage) -> Result<Ending> {
    if !Path::new(ROOT).join("cgroup.controllers").exists() {
        return Ok(Ending::Skip(format!("no cgroup v2 at {ROOT}; sockets of a v1 host belong to no cgroup")));
    }
    let name = format!("observer-lab-{}", process::id());
    let cgroup = Path::new(ROOT).join(&name);
    fs::create_dir(&cgroup).with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
    // Before the service, so that it is dropped after it.
    let _guard = Guard::cgroup(&cgroup);

    let mut service = stage.serve("service", Serve { cgroup: Some(cgroup), ..slow_service() })?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(&[], &heavy_load(&service))?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let finished = load.finish()?;
    let mut truth = overflow_truth(&service, &labeller.finish())?;
    truth.place.cgroup = Some(name);
    ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)
}
