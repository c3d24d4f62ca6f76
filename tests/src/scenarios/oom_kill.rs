//! A service leaks memory. At its cgroup's limit the kernel first takes back what costs nothing, for seconds;
//! then there is nothing left to take, and it kills the service. Clients that go on connecting are refused: an
//! effect, not a fault of its own.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{PORT, Scenario};
use crate::{
    cgroup::{Cgroup, Controller},
    check::{Count, Ending, Expect, Place, Truth},
    explain::check_edge,
    report::Tally,
    roles::{Role, load::Load, serve::Serve},
    stage::{PATIENCE, Service, Stage},
    watch::Watch,
};

pub const SCENARIO: Scenario = Scenario {
    name: "oom_kill",
    about: "a leaking service reclaims at its memory limit, then is killed; refused connections follow from it",
    play,
};

pub const OOM_KILL: Expect = Expect { fault_line: "oom_kill", role: "target", deciding: &["oom_kill"] };
const CONNECTION_REFUSED: Expect =
    Expect { fault_line: "connection_refused", role: "path", deciding: &["connect_refused"] };
pub const MEMORY_LIMIT: u64 = 48 << 20;
/// The limit is reached after half a second at this load, and all of it leaked after two and a half.
const LEAK_KIB: usize = 128;
const SCRATCH_KIB: usize = 512;
/// Refusals that clients notice for about a second.
const REFUSED: u64 = 200;

fn play(stage: &Stage) -> Result<Ending> {
    let cgroup = Cgroup::make(Controller::Memory, "service")?;
    cgroup.limit_memory(MEMORY_LIMIT)?;
    let service = stage.serve(
        "service",
        Serve {
            cgroup: vec![cgroup.folder()],
            leak_kib: LEAK_KIB,
            scratch_kib: SCRATCH_KIB,
            ..Serve::on(PORT)
        },
    )?;
    let kills = Watch::start(cgroup.oom_kills())?;
    let at_limit = Watch::start(cgroup.memory_max())?;
    let mut load = stage.observe(&[], &steady_load(&service))?;
    kills.wait_for(1, PATIENCE)?;
    load.wait_for_errno(libc::ECONNREFUSED, REFUSED)?;
    let finished = load.finish()?;

    let truth = oom_truth(service.pid, &cgroup, &kills)?;
    let refused = refused_truth(&service, &finished.tally)?;
    refused.print();
    println!(
        "  truth at its limit {} times, {} requests were answered",
        at_limit.count(),
        finished.tally.done
    );
    ensure!(kills.count() == 1, "{} processes were killed, not one", kills.count());
    ensure!(truth.onset.from_ns < refused.onset.to_ns, "connections were refused before the kill");

    let Some(verdict) = &finished.verdict else { return Ok(Ending::Ok) };
    println!("  {}", verdict.summary());
    // Memory was short for seconds before the kill, so it is what broke first.
    let first = verdict.first.as_ref().context("nothing is first")?;
    ensure!(first.fault_line == "memory_pressure", "first is {}: {}", first.fault_line, first.because);
    ensure!(first.role == OOM_KILL.role, "memory_pressure has role {:?}", first.role);
    check_edge("memory_pressure", "oom_kill", verdict)?;
    let kill = verdict.hit("oom_kill").context("the kill is not among the hits")?;
    OOM_KILL.check_hit(&truth, kill, verdict)?;
    check_edge("oom_kill", "connection_refused", verdict)?;
    let hit = verdict.hit("connection_refused").context("refused connections are not among the hits")?;
    CONNECTION_REFUSED.check_hit(&refused, hit, verdict)?;
    // Those that were in the accept queue were reset; there may be too few of them to matter.
    if verdict.hit("connection_resets").is_some() {
        check_edge("oom_kill", "connection_resets", verdict)?;
    }
    Ok(Ending::Ok)
}

/// About a hundred and fifty requests a second.
pub fn steady_load(service: &Service) -> Role {
    Role::Load(Load {
        netns_of: Some(service.pid),
        workers: 4,
        think_ms: 20,
        // Reclaim takes its time on a slow machine.
        for_ms: 60_000,
        ..Load::to(service.address())
    })
}

/// The truth about processes of a cgroup that were killed, of which `victim` is the first.
pub fn oom_truth(victim: u32, cgroup: &Cgroup, kills: &Watch) -> Result<Truth> {
    Ok(Truth {
        onset: kills.onset()?,
        place: Place {
            pid: Some(victim),
            comm: Some(comm()?),
            cgroup: Some(cgroup.name()),
            ..Place::default()
        },
        counts: vec![Count::of(&["oom_kill"]).kernel_says("oom_kill", kills.count())],
    })
}

/// The name of this process and of all that run the same program.
pub fn comm() -> Result<String> {
    Ok(fs::read_to_string("/proc/self/comm")?.trim_end().to_owned())
}

fn refused_truth(service: &Service, tally: &Tally) -> Result<Truth> {
    let refused = tally.errno(libc::ECONNREFUSED).context("nobody was refused a connection")?;
    Ok(Truth {
        onset: refused.first,
        place: Place { destination_port: Some(service.port), netns: Some(service.netns), ..Place::default() },
        counts: vec![Count::of(&["connect_refused"]).app(refused.count)],
    })
}
