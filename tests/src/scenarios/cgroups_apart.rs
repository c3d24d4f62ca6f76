//! The service lives in a network namespace and a cgroup that are not observer's; the hit names both.

use anyhow::Result;

use super::{ACCEPT_QUEUE_OVERFLOW, Scenario, heavy_load, overflow_and_relent, overflow_truth, slow_service};
use crate::{cgroup::Cgroup, check::Ending, label::Labeller, roles::serve::Serve, stage::Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "cgroups_apart",
    about: "an overflow in another network namespace and cgroup than observer's: the hit names both",
    play,
};

fn play(stage: &Stage) -> Result<Ending> {
    // Before the service, so that it is dropped after it.
    let Some(cgroup) = Cgroup::make_unified("service")? else {
        return Ok(Ending::Skip(
            "no cgroup v2 with controllers; sockets of a v1 host belong to no cgroup".into(),
        ));
    };
    let mut service = stage.serve("service", Serve { cgroup: vec![cgroup.folder()], ..slow_service() })?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(&[], &heavy_load(&service))?;
    overflow_and_relent(&mut service, &mut load, &labeller)?;
    let finished = load.finish()?;
    let mut truth = overflow_truth(&service, &labeller.finish())?;
    truth.place.cgroup = Some(cgroup.name());
    ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)
}
