//! A service that accepts too slowly, under a load of connections: its accept queue fills, and the kernel
//! drops the SYNs of further clients. Two handshakes at once may also overflow at their final ACK.

use anyhow::Result;

use super::{ACCEPT_QUEUE_OVERFLOW, Scenario, heavy_load, overflow_and_relent, overflow_truth, slow_service};
use crate::{
    check::{Count, Ending},
    label::Labeller,
    stage::Stage,
};

pub const SCENARIO: Scenario = Scenario {
    name: "accept_overflow_syn",
    about: "a service accepts too slowly; SYNs are dropped at its full accept queue",
    play,
};

fn play(stage: &Stage) -> Result<Ending> {
    let mut service = stage.serve("service", slow_service())?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(&[], &heavy_load(&service))?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let finished = load.finish()?;
    let mut truth = overflow_truth(&service, &labeller.finish())?;
    // A client gives up long before it would send its SYN again, so each that did lost one.
    truth.counts.push(Count::of(&["accept_overflow_syn"]).app(finished.tally.unconnected));
    ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)
}
