//! One service runs out of descriptors, and a moment later the accept queue of an unrelated service
//! overflows. Both are hits; neither explains the other.

use anyhow::{Context, Result, ensure};

use super::{ACCEPT_QUEUE_OVERFLOW, FD_SATURATION, PORT, QUIET, Scenario, descriptor_truth, overflow_truth};
use crate::{
    check::Ending,
    counters::Counter,
    label::Labeller,
    roles::{Role, load::Load, serve::Serve},
    stage::{PATIENCE, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "negative_fd_accept",
    about: "one service out of descriptors, another one's queue overflows: no link between them",
    play,
};

const OTHER_PORT: u16 = 8081;
/// Clients take turns between the services over this ramp, so that the one has long been out of
/// descriptors (at 36 clients) when the other has more clients than its queue has places (65).
const RAMP_MS: u64 = 1200;
const CLIENTS: u32 = 160;
const OVERFLOWS: u64 = 100;

fn play(stage: &Stage) -> Result<Ending> {
    let mut starved = stage.serve("starved", Serve { hold: true, nofile: Some(40), ..Serve::on(PORT) })?;
    let mut slow = stage.serve(
        "slow",
        Serve { netns_of: Some(starved.pid), backlog: 64, accept_delay_ms: 20, ..Serve::on(OTHER_PORT) },
    )?;
    let labeller = Labeller::start(slow.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            to: vec![starved.address(), slow.address()],
            netns_of: Some(starved.pid),
            workers: CLIENTS,
            ramp_ms: RAMP_MS,
            connect_timeout_ms: 100,
            ..Load::to(starved.address())
        }),
    )?;
    labeller.wait_for(Counter::ListenOverflows, OVERFLOWS, PATIENCE)?;
    load.relent()?;
    starved.relent()?;
    slow.relent()?;
    labeller.wait_quiet(QUIET, PATIENCE)?;
    let finished = load.finish()?;
    let first = descriptor_truth(starved.pid, &starved.tally()?)?;
    let second = overflow_truth(&slow, &labeller.finish())?;
    second.print();
    ensure!(first.onset.to_ns < second.onset.from_ns, "the faults came in the wrong order");

    let ending = FD_SATURATION.check_first(&first, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    let hit = verdict.hit(ACCEPT_QUEUE_OVERFLOW.fault_line).context("the overflow is not among the hits")?;
    ACCEPT_QUEUE_OVERFLOW.check_hit(&second, hit, verdict)?;
    ensure!(hit.explained_by.is_none(), "the overflow is explained by {:?}", hit.explained_by);
    ensure!(verdict.chain.is_empty(), "the chain links what is not linked: {:?}", verdict.chain);
    Ok(ending)
}
