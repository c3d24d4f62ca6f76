//! Connections that stay open, at eighty per cent of what the service can have: its descriptors, its memory,
//! and once its accept queue.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::{EIGHTY_PER_CENT, PLATEAU, PORT, Scenario};
use crate::{
    cgroup::{Cgroup, Controller},
    check::{Ending, check_clear},
    counters::Counter,
    explain::check_headroom,
    label::{Labeller, Labels},
    roles::{Role, load::Load, serve::Serve},
    stage::Stage,
    watch::Watch,
};

pub const SCENARIO: Scenario = Scenario {
    name: "healthy_80_connections",
    about: "open connections at 80 % of the descriptors, the memory and once the accept queue: clear",
    play,
};

const CLIENTS: u16 = 84;
const BACKLOG: u16 = 105;
/// With the five descriptors that the service has anyway, 84 connections take 80 % of this.
const NOFILE: u64 = 110;
/// Most of its memory, so that the rest does not matter.
const BALLAST_KIB: usize = 96 * 1024;
/// What the connections take, roughly.
const CONNECTIONS_BYTES: u64 = 3 << 20;
/// How long the load lasts.
const STEADY: Duration = Duration::from_secs(3);

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Memory, "service")?;
    let mut service = stage.serve(
        "service",
        Serve {
            cgroup: vec![cgroup.folder()],
            backlog: BACKLOG,
            nofile: Some(NOFILE),
            threads: CLIENTS,
            ballast_kib: BALLAST_KIB,
            paused: true,
            ..Serve::on(PORT)
        },
    )?;
    let limit = (cgroup.memory_bytes()? + CONNECTIONS_BYTES) * 5 / 4;
    cgroup.limit_memory(limit)?;
    let at_limit = Watch::start(cgroup.memory_max())?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS.into(),
            ramp_ms: 400,
            think_ms: 300,
            keep_alive: true,
            ..Load::to(service.address())
        }),
    )?;
    // All wait in the queue, then all are accepted, and stay.
    load.wait_for_connected(CLIENTS.into())?;
    thread::sleep(PLATEAU);
    service.resume()?;
    service.wait_for_accepted(CLIENTS.into())?;
    thread::sleep(STEADY);
    let used = cgroup.memory_bytes()?;
    // Each client is answered before it goes.
    load.relent()?;
    load.wait_for_idle()?;
    let finished = load.finish()?;

    let labels = labeller.finish();
    println!(
        "  truth memory {used}/{limit} = {:.2}, {} answers, {} times at the memory limit",
        used as f64 / limit as f64,
        finished.tally.done,
        at_limit.count()
    );
    ensure!(EIGHTY_PER_CENT.contains(&(used as f64 / limit as f64)), "memory was not at 80 %");
    ensure!(at_limit.count() == 0, "the cgroup was at its memory limit");
    ensure!(refused(&labels) == 0, "not healthy: {labels:?}");
    ensure!(finished.tally.errnos.is_empty(), "not healthy: {:?}", finished.tally);
    ensure!(finished.tally.connected == u64::from(CLIENTS), "connections were opened anew");
    let ending = check_clear(&finished)?;
    let Some(verdict) = &finished.verdict else { return Ok(ending) };
    for resource in ["accept_queue", "descriptors", "memory"] {
        check_headroom(resource, EIGHTY_PER_CENT, verdict)?;
    }
    Ok(ending)
}

/// How often the kernel refused something for want of room. (A machine that is slow may send a segment again,
/// and is healthy.)
pub fn refused(labels: &Labels) -> u64 {
    use Counter::{ListenDrops, ListenOverflows, ReqQFullDoCookies, ReqQFullDrop, TimeWaitOverflow};
    let of_room = [ListenOverflows, ListenDrops, ReqQFullDrop, ReqQFullDoCookies, TimeWaitOverflow];
    of_room.into_iter().map(|counter| labels.count(counter)).sum()
}
