//! A process reaches its RLIMIT_NOFILE: the service in accept(), or the generator in socket().

use anyhow::Result;

use super::{FD_SATURATION, PORT, Scenario, descriptor_truth};
use crate::{
    check::{Ending, Expect},
    roles::{Role, load::Load, serve::Serve},
    stage::Stage,
};

pub const SERVICE: Scenario = Scenario {
    name: "fd_saturation",
    about: "a service holds connections up to its RLIMIT_NOFILE; accept fails with EMFILE",
    play: service,
};

pub const GENERATOR: Scenario = Scenario {
    name: "fd_saturation_generator",
    about: "the load opens connections up to its own RLIMIT_NOFILE; socket fails with EMFILE",
    play: generator,
};

const LIMIT: u64 = 64;
const CLIENTS: u32 = 100;
/// EMFILEs that make a fault beyond doubt: a second's worth of accept() every five milliseconds.
const SERVICE_REFUSALS: u64 = 200;
/// Two and a half seconds' worth of forty clients that try every hundred milliseconds.
const GENERATOR_REFUSALS: u64 = 1000;

fn service(stage: &Stage) -> Result<Ending> {
    // The backlog has room for every client, so that no queue overflows.
    let mut service = stage.serve("service", Serve { hold: true, nofile: Some(LIMIT), ..Serve::on(PORT) })?;
    let load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS,
            ramp_ms: 300,
            requests: Some(1),
            ..Load::to(service.address())
        }),
    )?;
    service.wait_for_errno(libc::EMFILE, SERVICE_REFUSALS)?;
    service.relent()?;
    service.wait_for_accepted(u64::from(CLIENTS))?;
    let finished = load.finish()?;
    FD_SATURATION.check_first(&descriptor_truth(service.pid, &service.tally()?)?, &finished)
}

fn generator(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve { hold: true, ..Serve::on(PORT) })?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS,
            ramp_ms: 300,
            think_ms: 100,
            nofile: Some(LIMIT),
            ..Load::to(service.address())
        }),
    )?;
    load.wait_for_errno(libc::EMFILE, GENERATOR_REFUSALS)?;
    let pid = load.pid;
    let finished = load.finish()?;
    let expect = Expect { role: "generator", ..FD_SATURATION };
    expect.check_first(&descriptor_truth(pid, &finished.tally)?, &finished)
}
