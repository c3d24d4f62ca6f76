//! A service runs out of descriptors, so it no longer accepts, so its accept queue overflows: one cause,
//! one effect, and the chain says so.

use anyhow::{Context, Result, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, FD_SATURATION, PORT, Scenario, descriptor_truth, overflow_and_relent,
    overflow_truth,
};
use crate::{
    check::{Ending, Truth},
    label::Labeller,
    roles::{Role, load::Load, serve::Serve},
    stage::{Finished, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "cascade_fd_accept",
    about: "a service out of descriptors stops accepting, and its accept queue overflows",
    play,
};

fn play(stage: &Stage) -> Result<Ending> {
    let options = Serve { backlog: 16, hold: true, nofile: Some(64), ..Serve::on(PORT) };
    let mut service = stage.serve("service", options)?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: 120,
            ramp_ms: 800,
            connect_timeout_ms: 100,
            ..Load::to(service.address())
        }),
    )?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let finished = load.finish()?;
    let cause = descriptor_truth(service.pid, &service.tally()?)?;
    let effect = overflow_truth(&service, &labeller.finish())?;
    check_cascade(&cause, &effect, &finished)
}

/// Checks that the descriptors are first, that they explain the overflow, and that the chain says so.
pub fn check_cascade(cause: &Truth, effect: &Truth, finished: &Finished) -> Result<Ending> {
    effect.print();
    ensure!(cause.onset.to_ns < effect.onset.from_ns, "the overflow came before its cause");

    let ending = FD_SATURATION.check_first(cause, finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    let hit = verdict.hit(ACCEPT_QUEUE_OVERFLOW.fault_line).context("the overflow is not among the hits")?;
    ACCEPT_QUEUE_OVERFLOW.check_hit(effect, hit, verdict)?;
    ensure!(
        hit.explained_by.as_deref() == Some(FD_SATURATION.fault_line),
        "the overflow is explained by {:?}",
        hit.explained_by
    );
    let link = verdict
        .chain
        .iter()
        .find(|link| {
            link.cause == FD_SATURATION.fault_line && link.effect == ACCEPT_QUEUE_OVERFLOW.fault_line
        })
        .context("the chain does not lead from the descriptors to the overflow")?;
    println!("  chain: {}", link.mechanism);
    ensure!(!link.mechanism.trim().is_empty(), "the chain does not say how");
    Ok(ending)
}
