//! A service runs out of descriptors, so it no longer accepts, so its accept queue overflows: one cause,
//! one effect, and the chain says so.

use anyhow::{Result, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, FD_SATURATION, PORT, Scenario, descriptor_truth, overflow_and_relent,
    overflow_truth,
};
use crate::{
    check::{Ending, Truth, find_effect},
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
    let (cause, place) = (FD_SATURATION.fault_line, &effect.place);
    let hit = find_effect(verdict, cause, ACCEPT_QUEUE_OVERFLOW.fault_line, place)?;
    ACCEPT_QUEUE_OVERFLOW.check_hit(effect, hit, verdict)?;
    Ok(ending)
}
