//! A run at eighty per cent of every limit at once: accept queue, descriptors of the service, local ports.
//! Nothing breaks, and nothing is said to have.

use std::thread;

use anyhow::{Result, ensure};

use super::{PLATEAU, PORT, Scenario};
use crate::{
    check::{Ending, check_clear},
    label::Labeller,
    roles::{Role, load::Load, serve::Serve},
    stage::Stage,
};

pub const SCENARIO: Scenario = Scenario {
    name: "healthy_steady",
    about: "a run at 80 % of the accept queue, the descriptors and the ports: clear",
    play,
};

const CLIENTS: u32 = 84;
const BACKLOG: u16 = 105;
/// With the five descriptors that the service has anyway, 84 connections take 80 % of this.
const NOFILE: u64 = 110;
/// A hundred and six ports.
const RANGE: &str = "net/ipv4/ip_local_port_range=40000 40105";

fn play(stage: &Stage) -> Result<Ending> {
    let mut service = stage.serve(
        "service",
        Serve {
            backlog: BACKLOG,
            nofile: Some(NOFILE),
            sysctl: vec![RANGE.to_owned()],
            paused: true,
            hold: true,
            ..Serve::on(PORT)
        },
    )?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS,
            ramp_ms: 400,
            requests: Some(1),
            ..Load::to(service.address())
        }),
    )?;
    // All wait in the queue, then all are accepted and held, then all are answered.
    load.wait_for_connected(u64::from(CLIENTS))?;
    thread::sleep(PLATEAU);
    service.resume()?;
    service.wait_for_accepted(u64::from(CLIENTS))?;
    thread::sleep(PLATEAU);
    service.relent()?;
    load.wait_for_done(u64::from(CLIENTS))?;
    let finished = load.finish()?;

    let labels = labeller.finish();
    ensure!(labels.trouble() == 0, "not healthy: {labels:?}");
    ensure!(finished.tally.errnos.is_empty(), "not healthy: {:?}", finished.tally);
    ensure!(service.tally()?.errnos.is_empty(), "the service was not healthy");
    check_clear(&finished)
}
