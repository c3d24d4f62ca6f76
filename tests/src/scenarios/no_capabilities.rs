//! Observer as an ordinary user, beside the service in its namespace: it runs on counters, says so, finds
//! what counters show, and does not call a run clear that it could not see.

use std::{
    fs::{self, File, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CloneFlags, setns},
    unistd::{Gid, Uid, setgid, setgroups, setuid},
};

use super::{
    ACCEPT_QUEUE_OVERFLOW, PORT, Scenario, heavy_load, light_load, overflow_and_relent, overflow_truth,
    slow_service,
};
use crate::{
    check::Ending,
    label::Labeller,
    roles::{Role, serve::Serve},
    stage::{Finished, Observed, Service, Stage},
    verdict::Tier,
};

pub const CLEAR: Scenario = Scenario {
    name: "no_capabilities_clear",
    about: "a healthy run observed without any capability: inconclusive, and it says why",
    play: clear,
};

pub const HIT: Scenario = Scenario {
    name: "no_capabilities_hit",
    about: "an accept queue overflow observed without any capability: found by counters",
    play: hit,
};

/// Nobody, by custom.
const NOBODY: u32 = 65534;
const ANSWERS: u64 = 200;

fn clear(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve::on(PORT))?;
    let mut load = observe_as_nobody(stage, &service, light_load(&service))?;
    load.wait_for_done(ANSWERS)?;
    let finished = load.finish()?;
    check_coverage(&finished)?;
    let Some(verdict) = &finished.verdict else { return Ok(Ending::Ok) };
    println!("  {}", verdict.summary());
    ensure!(verdict.hits.is_empty(), "a healthy run has hits");
    ensure!(!verdict.not_measurable.is_empty(), "everything is said to be measurable");
    ensure!(verdict.outcome == "inconclusive", "outcome is {:?}, not \"inconclusive\"", verdict.outcome);
    Ok(Ending::Ok)
}

fn hit(stage: &Stage) -> Result<Ending> {
    let mut service = stage.serve("service", slow_service())?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = observe_as_nobody(stage, &service, heavy_load(&service))?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let finished = load.finish()?;
    check_coverage(&finished)?;
    ACCEPT_QUEUE_OVERFLOW.check_first(&overflow_truth(&service, &labeller.finish())?, &finished)
}

fn check_coverage(finished: &Finished) -> Result<()> {
    let Some(verdict) = &finished.verdict else { return Ok(()) };
    ensure!(!verdict.coverage.signals.is_empty(), "coverage lists no signal");
    for entry in &verdict.coverage.signals {
        ensure!(!entry.tier.is_probe(), "{} is said to come from a probe", entry.signal);
        ensure!(
            entry.tier != Tier::Absent || entry.why_degraded.is_some(),
            "{} is absent, and nobody says why",
            entry.signal
        );
    }
    Ok(())
}

/// Starts observer and load in the service's namespace, as nobody and without a capability.
fn observe_as_nobody(stage: &Stage, service: &Service, mut role: Role) -> Result<Observed> {
    let Role::Load(load) = &mut role else { bail!("not a load") };
    // It is there already, and could not join by itself.
    load.netns_of = None;
    fs::set_permissions(stage.folder(), Permissions::from_mode(0o777))?;
    let mut command = stage.observe_command(&[], &role)?;
    let path = format!("/proc/{}/ns/net", service.pid);
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let become_nobody = move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        setgroups(&[])?;
        setgid(Gid::from_raw(NOBODY))?;
        setuid(Uid::from_raw(NOBODY))?;
        Ok(())
    };
    // SAFETY: the closure only makes system calls; it neither allocates nor takes locks.
    unsafe { command.pre_exec(become_nobody) };
    stage.observe_by(command)
}
