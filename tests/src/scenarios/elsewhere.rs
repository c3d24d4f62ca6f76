//! While a healthy service is tested, an unrelated one on the same host overflows its queue under a load
//! that is not the test's. That is worth knowing, and not what the test broke.

use anyhow::{Result, bail, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, PLENTY, PORT, QUIET, Scenario, heavy_load, light_load, overflow_truth,
    slow_service,
};
use crate::{
    check::{Ending, Expect, check_clear},
    counters::Counter,
    label::Labeller,
    report::Order,
    roles::serve::Serve,
    stage::{PATIENCE, Stage},
    verdict::Hit,
};

pub const SCENARIO: Scenario = Scenario {
    name: "elsewhere",
    about: "a healthy run beside an unrelated service that overflows: listed under elsewhere",
    play,
};

const BYSTANDER: Expect = Expect { role: "bystander", ..ACCEPT_QUEUE_OVERFLOW };
const BYSTANDER_PORT: u16 = 9090;
/// Answers that show the run has begun.
const UNDER_WAY: u64 = 20;

fn play(stage: &Stage) -> Result<Ending> {
    let healthy = stage.serve("service", Serve::on(PORT))?;
    let mut bystander = stage.serve("bystander", Serve { port: BYSTANDER_PORT, ..slow_service() })?;
    let labeller = Labeller::start(bystander.pid)?;
    let mut load = stage.observe(&[], &light_load(&healthy))?;
    load.wait_for_done(UNDER_WAY)?;
    let mut other_load = stage.start("bystander-load", &heavy_load(&bystander))?;
    labeller.wait_for(Counter::ListenOverflows, PLENTY, PATIENCE)?;
    other_load.order(Order::Relent)?;
    bystander.relent()?;
    labeller.wait_quiet(QUIET, PATIENCE)?;
    let finished = load.finish()?;
    drop(other_load);

    let truth = overflow_truth(&bystander, &labeller.finish())?;
    truth.print();
    let ending = check_clear(&finished)?;
    let Some(verdict) = &finished.verdict else { return Ok(ending) };
    ensure!(verdict.first.is_none(), "something is first");
    // Something else may happen on this host at the same time, but not in this namespace.
    let ours = |hit: &&Hit| hit.subject.netns == Some(bystander.netns);
    // SYNs and SYN-ACKs that are sent again come of the overflow.
    let of_itself = |hit: &&Hit| hit.explained_by.as_deref() != Some(BYSTANDER.fault_line);
    match verdict.elsewhere.iter().filter(ours).filter(of_itself).collect::<Vec<_>>().as_slice() {
        [hit] if hit.fault_line == BYSTANDER.fault_line => BYSTANDER.check_hit(&truth, hit, verdict)?,
        hits => {
            let names: Vec<_> = hits.iter().map(|hit| &hit.fault_line).collect();
            bail!("elsewhere was to list one overflow of the bystander, and lists {names:?}");
        }
    }
    Ok(ending)
}
