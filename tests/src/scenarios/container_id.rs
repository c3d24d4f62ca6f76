//! The service lives in a cgroup with the path that a container runtime would give it. The hit names the
//! container: where sockets belong to cgroups (version 2) that of a listener, elsewhere that of a process
//! that was killed in the memory hierarchy.

use anyhow::{Context, Result, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, PORT, Scenario, heavy_load, light_load,
    oom_kill::{MEMORY_LIMIT, OOM_KILL, oom_truth},
    overflow_and_relent, overflow_truth, slow_service,
};
use crate::{
    cgroup::{Cgroup, Controller},
    check::Ending,
    label::Labeller,
    roles::serve::Serve,
    stage::{Finished, PATIENCE, Stage},
    watch::Watch,
};

pub const SCENARIO: Scenario = Scenario {
    name: "container_id",
    about: "a hit in a cgroup with a container's path: the hit names the container",
    play,
};

const ID: &str = "3f4a0c9d5e6b7a8190c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5a6b7c8";
const ANSWERS: u64 = 100;

fn play(stage: &Stage) -> Result<Ending> {
    let path = format!("containers/docker-{ID}.scope");
    let (ending, finished) = match Cgroup::make_unified(&path)? {
        Some(cgroup) => overflow(stage, &cgroup)?,
        None => kill(stage, &Cgroup::make(Controller::Memory, &path)?)?,
    };
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    let subject = &verdict.first.as_ref().context("nothing is first")?.subject;
    println!("  container {:?}, cgroup {:?}", subject.container, subject.cgroup);
    ensure!(subject.container.as_deref() == Some(ID), "the container is {:?}, not {ID}", subject.container);
    let cgroup = subject.cgroup.as_deref().unwrap_or_default();
    ensure!(
        cgroup.starts_with('/') && cgroup.ends_with(&path["containers".len()..]),
        "the cgroup is {cgroup}"
    );
    Ok(ending)
}

fn overflow(stage: &Stage, cgroup: &Cgroup) -> Result<(Ending, Finished)> {
    let mut service = stage.serve("service", Serve { cgroup: vec![cgroup.folder()], ..slow_service() })?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(&[], &heavy_load(&service))?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let finished = load.finish()?;
    let mut truth = overflow_truth(&service, &labeller.finish())?;
    truth.place.cgroup = Some(cgroup.name());
    Ok((ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)?, finished))
}

fn kill(stage: &Stage, cgroup: &Cgroup) -> Result<(Ending, Finished)> {
    cgroup.limit_memory(MEMORY_LIMIT)?;
    let mut service = stage.serve("service", Serve { cgroup: vec![cgroup.folder()], ..Serve::on(PORT) })?;
    let kills = Watch::start(cgroup.oom_kills())?;
    let mut load = stage.observe(&[], &light_load(&service))?;
    load.wait_for_done(ANSWERS)?;
    service.swell()?;
    kills.wait_for(1, PATIENCE)?;
    let finished = load.finish()?;
    Ok((OOM_KILL.check_first(&oom_truth(service.pid, cgroup, &kills)?, &finished)?, finished))
}
